// What a person gives the model: a drawing, an image or JSON, as the model's inputs allow.

import { by, say, show } from "./elements.js";
import { drawable, exampleInputs, imageLayout, pixelInput, typedInputs, usualRange } from "./tensors.js";
import { drawing } from "./draw.js";
import { picture } from "./picture.js";

const KINDS = ["draw", "image", "json"];
const LONGEST = 4096; // values that are written out in the text field

// onready is called when there is something to send without being asked; onerror with a text.
export function inputForm({ onready, onerror }) {
  let inputs = [];
  let layout = null;
  let example = null;
  const canvas = drawing(by("canvas"), onready);
  const image = picture(
    { drop: by("drop"), file: by("file"), preview: by("preview"), text: by("drop-text") }, onready, onerror);

  function kind() {
    return document.querySelector("input[name=kind]:checked").value;
  }

  function open(wanted) {
    document.querySelector(`input[value=${wanted}]`).checked = true;
    for (const one of KINDS) show(by(one), one === wanted);
    show(by("pixels"), wanted !== "json");
    document.querySelector(".try").classList.toggle("wide", wanted === "json");
  }

  function fit(wanted) {
    inputs = wanted;
    layout = inputs.length === 1 ? imageLayout(inputs[0]) : null;
    show(by("kinds"), layout !== null);
    show(by("kind-draw"), drawable(layout));
    if (layout) {
      canvas.reset(layout);
      image.reset(layout);
      by("canvas").setAttribute("aria-label", `Drawing of ${layout.width} by ${layout.height} pixels`);
      by("range").value = usualRange(inputs[0]);
    }
    writeExample();
    open(drawable(layout) ? "draw" : layout ? "image" : "json");
  }

  // A long example would only be in the way: then zeros are sent until something is typed.
  function writeExample() {
    example = exampleInputs(inputs);
    const count = example.reduce((sum, one) => sum + one.data.length, 0);
    const short = count <= LONGEST;
    by("text").value = short ? written(example) : "";
    by("text").placeholder = short ? "" : `Empty: zeros in the model's shape. ${count} values are too many to show.`;
  }

  function given() {
    if (kind() === "json") {
      const text = by("text").value.trim();
      return text ? typedInputs(text, inputs) : example;
    }
    const rgba = kind() === "draw" ? canvas.pixels() : image.pixels();
    return [pixelInput(inputs[0], layout, rgba, { range: by("range").value, invert: by("invert").checked })];
  }

  function clear() {
    if (kind() === "draw") canvas.clear();
    else if (kind() === "image") image.clear();
    else writeExample();
    by("text").removeAttribute("aria-invalid");
  }

  by("kinds").addEventListener("change", () => {
    const wanted = kind();
    // JSON starts with what was drawn: the values can be read, and changed.
    if (wanted === "json" && drawable(layout)) by("text").value = written([pixelInput(
      inputs[0], layout, canvas.pixels(), { range: by("range").value, invert: by("invert").checked })]);
    open(wanted);
    say(by("error"), "");
  });
  for (const id of ["range", "invert"]) by(id).addEventListener("change", onready);

  return {
    fit,
    clear,
    inputs() {
      try {
        const found = given();
        by("text").removeAttribute("aria-invalid");
        return found;
      } catch (error) {
        if (kind() === "json") by("text").setAttribute("aria-invalid", "true");
        throw error;
      }
    },
  };
}

// One line an input, so that the names stand at the left.
function written(inputs) {
  return `[${inputs.map((one) => JSON.stringify(one)).join(",\n ")}]`;
}
