// Tensors of the Open Inference Protocol: which inputs are images, and pixels as their values.

const NUMBERS = new Set(["FP16", "BF16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]);
const SMALLEST = 4;
const DRAWABLE = 96;
const FREE = 224; // the size that is taken where a model takes any

// Height, width, channels and their order if the shape is that of an image, else null.
export function imageLayout({ datatype, shape }) {
  if (!NUMBERS.has(datatype)) return null;
  const last = (count, channels) => ({ rank: 4, first: false, channels, ...sized(count) });
  if (shape.length === 4) {
    if ([1, 3, 4].includes(shape[3])) return last(shape.slice(1, 3), shape[3]);
    if ([1, 3].includes(shape[1])) return { ...last(shape.slice(2), shape[1]), first: true };
  }
  if (shape.length === 3 && shape[1] > SMALLEST && shape[2] > SMALLEST) {
    return { ...last(shape.slice(1), 1), rank: 3 };
  }
  return null;
}

function sized([height, width]) {
  return { height: height > 0 ? height : FREE, width: width > 0 ? width : FREE, free: height < 0 || width < 0 };
}

export function drawable(layout) {
  return layout !== null && !layout.free && Math.max(layout.height, layout.width) <= DRAWABLE;
}

export function usualRange({ datatype }) {
  return datatype === "UINT8" ? "byte" : "unit";
}

const RANGES = {
  unit: (value) => round(value / 255),
  byte: (value) => value,
  signed: (value) => round(value / 127.5 - 1),
};

function round(value) {
  return Number(value.toFixed(5));
}

// The input of the protocol for pixels in RGBA, as a canvas gives them.
export function pixelInput({ name, datatype }, layout, rgba, { range, invert }) {
  const { height, width, channels, first, rank } = layout;
  const cells = height * width;
  const data = new Array(cells * channels);
  const scaled = RANGES[range];
  for (let cell = 0; cell < cells; cell += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const value = channels === 1 ? gray(rgba, 4 * cell) : rgba[4 * cell + channel];
      const place = first ? channel * cells + cell : cell * channels + channel;
      data[place] = scaled(invert && channel < 3 ? 255 - value : value);
    }
  }
  const shape = rank === 3 ? [1, height, width] : first ? [1, channels, height, width] : [1, height, width, channels];
  if (!datatype.includes("FP") && datatype !== "BF16") data.forEach((value, place) => { data[place] = Math.round(value); });
  return { name, datatype, shape, data };
}

// Luma of ITU-R BT.601, as image libraries turn colour into gray.
function gray(rgba, at) {
  return 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];
}

// A request that fits the inputs: zeros, or empty strings, one sample, one for every free size.
export function exampleInputs(inputs) {
  return inputs.map(({ name, datatype, shape }) => {
    const fixed = shape.map((size) => (size > 0 ? size : 1));
    const count = fixed.reduce((product, size) => product * size, 1);
    const one = datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0;
    return { name, datatype, shape: fixed, data: new Array(Math.min(count, 65536)).fill(one) };
  });
}

// What a person typed, as inputs of the protocol. Throws an Error that says what is wrong.
export function typedInputs(text, inputs) {
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}.`);
  }
  if (found && !Array.isArray(found) && Array.isArray(found.inputs)) found = found.inputs;
  if (Array.isArray(found) && found.length && found.every((one) => one && typeof one === "object" && "name" in one)) return found;
  if (inputs.length !== 1) {
    throw new Error(`The model has ${inputs.length} inputs: give an array of {"name", "shape", "datatype", "data"}, one for each.`);
  }
  return [nestedInput(found, inputs[0])];
}

function nestedInput(values, { name, datatype, shape }) {
  let found = lengths(values);
  const flat = Array.isArray(values) ? values.flat(Infinity) : [values];
  if (flat.some((value) => value !== null && typeof value === "object")) {
    throw new Error("Give values, or the array inputs of the protocol.");
  }
  // A single sample may come without its batch.
  if (found.length === shape.length - 1) found = [1, ...found];
  const wanted = shape.map((size) => (size > 0 ? size : "any")).join(" × ");
  const product = found.reduce((all, size) => all * size, 1);
  if (product !== flat.length) throw new Error("The lists are of unequal lengths.");
  if (found.length !== shape.length || shape.some((size, axis) => size > 0 && size !== found[axis])) {
    const one = shape.map((size) => (size > 0 ? size : 1));
    const fits = flat.length === one.reduce((all, size) => all * size, 1);
    if (!fits) throw new Error(`${name} wants ${wanted} values, not ${found.join(" × ") || "a single value"}.`);
    found = one; // a flat list of the right length
  }
  return { name, datatype, shape: found, data: flat };
}

function lengths(values) {
  return Array.isArray(values) ? [values.length, ...lengths(values[0])] : [];
}
