// A picture of what is shown, as SVG or PNG, made in the browser: the page itself inside an SVG, its canvases drawn again as lines.

import { paintingOf } from "./chart/canvas";
import { svgPen } from "./chart/svg";

const SVG = "http://www.w3.org/2000/svg";
/** Not part of a picture. */
const LEFT_OUT = ".buttons, .aside, .tabs, .code .button";
/** Device pixels for each of the page's, so that it can be printed. */
const SHARP = 2;

/**
 * The rules of our sheet as they apply at this width: inside a picture a question for the width would have another answer. Those
 * of the body are main's there.
 */
function rulesHere(): string {
  const written = (rules: CSSRuleList): string[] =>
    [...rules].flatMap((rule) => (rule instanceof CSSMediaRule ? (window.matchMedia(rule.conditionText).matches ? written(rule.cssRules) : []) : [rule.cssText.replace(/^body\b/, "main")]));
  return [...document.styleSheets].flatMap((sheet) => written(sheet.cssRules)).join("\n");
}

/** The canvas as lines and text of an SVG, over a ground of the given colour. */
function linesOf(canvas: HTMLCanvasElement | null, number: number, ground = "none"): string {
  const { width, height, paint } = (canvas && paintingOf(canvas)) ?? { width: 0, height: 0, paint: () => undefined };
  const { pen, content } = svgPen(`c${number}`);
  paint(pen);
  return `<svg xmlns="${SVG}" width="${width}" height="${height}"><rect width="100%" height="100%" fill="${ground}"/>${content()}</svg>`;
}

/** The curve of the timeline as plain SVG, for any program that draws. */
export function chartOf(page: HTMLElement): string {
  return linesOf(page.querySelector(".timeline canvas"), 0, getComputedStyle(page.querySelector(".card") ?? page).backgroundColor);
}

function asLines(canvas: HTMLCanvasElement, number: number): Node {
  return document.importNode(new DOMParser().parseFromString(linesOf(canvas, number), "image/svg+xml").documentElement, true);
}

/** A copy of `element` as it looks now: what a copy does not take with it is written into it. */
function copied(element: HTMLElement): HTMLElement {
  const copy = element.cloneNode(true) as HTMLElement;
  const canvases = [...element.querySelectorAll("canvas")];
  copy.querySelectorAll("canvas").forEach((canvas, index) => canvas.replaceWith(asLines(canvases[index] ?? canvas, index)));
  const chosen = [...element.querySelectorAll("select")].map((select) => select.selectedOptions[0]?.textContent ?? "");
  copy.querySelectorAll("select").forEach((select, index) => select.replaceWith(chosen[index] ?? ""));
  copy.querySelectorAll(LEFT_OUT).forEach((part) => part.remove());
  return copy;
}

/** What `element` shows, as the text of an SVG file that asks nobody for anything. */
export function svgOf(element: HTMLElement): string {
  const { width, height } = element.getBoundingClientRect();
  const copy = copied(element);
  Object.assign(copy.style, { width: `${width}px`, minHeight: `${height}px` });
  const content = new XMLSerializer().serializeToString(copy);
  const sheet = new XMLSerializer().serializeToString(document.createTextNode(rulesHere()));
  return `<svg xmlns="${SVG}" class="${document.documentElement.className}" width="${width}" height="${height}"><style>${sheet}</style><foreignObject width="100%" height="100%">${content}</foreignObject></svg>`;
}

/** The same as a PNG. */
export async function pngOf(element: HTMLElement): Promise<Blob> {
  const picture = new Image();
  // As a data address: a browser lets nobody read a canvas on which a picture from elsewhere was drawn.
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgOf(element))}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: picture.width * SHARP, height: picture.height * SHARP });
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) throw new Error("The browser does not let the page make a picture.");
  return blob;
}

/** Hands a file to the reader. */
export function download(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
