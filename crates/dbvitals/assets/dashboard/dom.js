// Elements from data. Text is only ever set as text: nothing that a server says can become markup,
// and the page's policy refuses every other way.

const SVG = "http://www.w3.org/2000/svg";

/// An element with properties and children; `on` has its listeners, `data` its data attributes.
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/// The same in a drawing.
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/// Sets a text where it differs; what stays the same costs the browser nothing.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/// Shows or hides.
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

export function byId(id) {
  return document.getElementById(id);
}
