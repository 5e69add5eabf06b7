// An image that was dropped, chosen or pasted, at the size that the model takes.

export function picture({ drop, file, preview, text }, onchange, onerror) {
  let layout = null;
  let filled = false;

  function reset(next) {
    layout = next;
    clear();
  }

  function clear() {
    filled = false;
    preview.hidden = true;
    text.hidden = false;
    file.value = "";
  }

  async function take(blob) {
    if (!blob) return;
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      onerror(`${blob.name || "This"} is not an image that the browser can read.`);
      return;
    }
    preview.width = layout.width;
    preview.height = layout.height;
    const drawn = preview.getContext("2d", { willReadFrequently: true });
    drawn.imageSmoothingQuality = "high";
    drawn.drawImage(bitmap, 0, 0, preview.width, preview.height);
    preview.hidden = false;
    text.hidden = true;
    filled = true;
    onchange();
  }

  file.addEventListener("change", () => take(file.files[0]));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const found = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (found && drop.offsetParent !== null) take(found);
  });

  function pixels() {
    if (!filled) throw new Error("Choose an image first.");
    return preview.getContext("2d").getImageData(0, 0, preview.width, preview.height).data;
  }

  return { reset, clear, pixels };
}
