// A canvas to draw on that shows what the model gets: strokes in white on black at its resolution.

const FINE = 12; // strokes are drawn so many times finer, and averaged

// Calls onchange after each stroke. pixels() gives RGBA at the size of the layout.
export function drawing(canvas, onchange) {
  const ink = document.createElement("canvas");
  const fine = ink.getContext("2d");
  const shown = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  let cursor = null;
  let pending = 0;

  function reset({ height, width }) {
    canvas.width = width;
    canvas.height = height;
    ink.width = FINE * width;
    ink.height = FINE * height;
    cursor = { x: ink.width / 2, y: ink.height / 2 };
    Object.assign(fine, { lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    fine.lineWidth = Math.max(FINE * 1.6, 0.13 * Math.min(ink.width, ink.height));
    clear();
  }

  function clear() {
    fine.fillStyle = "#000";
    fine.fillRect(0, 0, ink.width, ink.height);
    average();
  }

  function average() {
    shown.imageSmoothingEnabled = true;
    shown.imageSmoothingQuality = "high";
    shown.drawImage(ink, 0, 0, canvas.width, canvas.height);
  }

  function stroke(from, to) {
    fine.beginPath();
    fine.moveTo(from.x, from.y);
    fine.lineTo(to.x + 0.01, to.y);
    fine.stroke();
    average();
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * ink.width,
      y: ((event.clientY - box.top) / box.height) * ink.height,
    };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.focus({ focusVisible: false });
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    const next = at(event);
    stroke(last, next);
    last = next;
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => {
      if (last !== null) onchange();
      last = null;
    });
  }

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move) {
      const next = {
        x: Math.min(Math.max(cursor.x + FINE * move[0], 0), ink.width),
        y: Math.min(Math.max(cursor.y + FINE * move[1], 0), ink.height),
      };
      if (event.shiftKey) stroke(cursor, next);
      cursor = next;
    } else if (event.key === " ") stroke(cursor, cursor);
    else return;
    event.preventDefault();
    mark();
    if (move && !event.shiftKey) return;
    clearTimeout(pending);
    pending = setTimeout(onchange, 400);
  });
  canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) mark(); });
  canvas.addEventListener("blur", average);

  // Where the keyboard is, on top of the picture; the model does not see it.
  function mark() {
    average();
    shown.fillStyle = "#ff8a3d";
    shown.fillRect(Math.floor(cursor.x / FINE), Math.floor(cursor.y / FINE), 1, 1);
  }

  function pixels() {
    average();
    return shown.getImageData(0, 0, canvas.width, canvas.height).data;
  }

  return { reset, clear, pixels };
}
