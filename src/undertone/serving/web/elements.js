// Elements of the page, and the colours of the emotions.

const KNOWN = {
  angry: "#c8453f", happy: "#d9922a", excited: "#e0742f", sad: "#4479b4", neutral: "#7f8894", calm: "#4f9a94",
  fearful: "#8360a8", fear: "#8360a8", disgust: "#6b8a3c", disgusted: "#6b8a3c", surprised: "#2a97a8",
  surprise: "#2a97a8", frustrated: "#a8553a", joy: "#d9922a", anger: "#c8453f", sadness: "#4479b4",
};
const OTHERS = ["#5c7fa3", "#b0785a", "#6c9a5b", "#a0699a", "#8a8452", "#4f8f8a"];

/** The colour of a label; of no label, none. */
export function hue(label, labels = []) {
  if (label === null) return "transparent";
  return KNOWN[label] ?? OTHERS[Math.max(0, labels.indexOf(label)) % OTHERS.length];
}

export const $ = (id) => document.getElementById(id);

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;      // never innerHTML: transcripts and names are other people's
  return made;
}

export function button(className, text, onClick) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

export function swatch(label, labels) {
  const made = element("span", label === null ? "swatch unclear" : "swatch");
  made.style.setProperty("--hue", hue(label, labels));
  return made;
}
