// Small helpers to build elements. Text goes in as text, never as markup.

export const by = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function show(target, visible) {
  target.hidden = !visible;
}

export function say(target, text) {
  target.textContent = text ?? "";
  show(target, Boolean(text));
}

// A bar of 0 to 1; its width is set through the object model, which the policy for styles allows.
export function filled(className, share) {
  const inner = element("i");
  inner.style.width = `${100 * Math.min(Math.max(share || 0, 0), 1)}%`;
  return element("span", { class: className, "aria-hidden": "true" }, inner);
}

export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: true });
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const digits = share > 0 && share < 0.01 ? 2 : 1;
  return `${(100 * share).toFixed(digits)}%`;
}
