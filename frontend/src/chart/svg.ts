// A pen that writes SVG: what a chart draws on its canvas, as lines and text that any program can edit.

import { FONT, type Pen } from "./pen";

const FRESH = { fillStyle: "#000", font: FONT, globalAlpha: 1, lineCap: "butt", lineWidth: 1, strokeStyle: "#000", textAlign: "left", textBaseline: "alphabetic", dash: [] as number[], clipped: "" };
const ANCHORS: Record<string, string> = { center: "middle", right: "end" };
/** How far below the point the line of the letters lies, in heights of the font. */
const DROP: Record<string, number> = { top: 0.8, middle: 0.35, bottom: -0.2 };

const short = (value: number): string => String(Math.round(value * 100) / 100);

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** `id` keeps the names of clip paths apart where several drawings stand in one document. */
export function svgPen(id: string): { pen: Pen; content: () => string } {
  const out: string[] = [];
  const kept: (typeof FRESH)[] = [];
  let path = "";
  let clips = 0;
  const state = { ...FRESH };
  const write = (name: string, attributes: Record<string, string | number>, text = ""): void => {
    const all = { ...attributes, ...(state.globalAlpha === 1 ? {} : { opacity: state.globalAlpha }), ...(state.clipped === "" ? {} : { "clip-path": state.clipped }) };
    out.push(`<${name}${Object.entries(all).map(([key, value]) => ` ${key}="${escaped(String(value))}"`).join("")}>${text}</${name}>`);
  };
  const methods = {
    beginPath: () => void (path = ""),
    moveTo: (x: number, y: number) => void (path += `M${short(x)} ${short(y)}`),
    lineTo: (x: number, y: number) => void (path += `L${short(x)} ${short(y)}`),
    rect: (x: number, y: number, width: number, height: number) => void (path += `M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}z`),
    // Whole circles are all that the charts draw.
    arc: (x: number, y: number, radius: number) => void (path += `M${short(x - radius)} ${short(y)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`),
    fill: () => write("path", { d: path, fill: state.fillStyle }),
    stroke: () => write("path", { d: path, fill: "none", stroke: state.strokeStyle, "stroke-width": state.lineWidth, "stroke-linecap": state.lineCap, ...(state.dash.length === 0 ? {} : { "stroke-dasharray": state.dash.join(" ") }) }),
    fillRect: (x: number, y: number, width: number, height: number) => write("rect", { x: short(x), y: short(y), width: short(width), height: short(height), fill: state.fillStyle }),
    fillText: (text: string, x: number, y: number) => {
      const size = parseFloat(/[\d.]+(?=px)/.exec(state.font)?.[0] ?? "11");
      write("text", { x: short(x), y: short(y + size * (DROP[state.textBaseline] ?? 0)), style: `font:${state.font};fill:${state.fillStyle}`, "text-anchor": ANCHORS[state.textAlign] ?? "start" }, escaped(text));
    },
    measureText: (text: string) => ({ width: text.length * 6 }) as TextMetrics,
    setLineDash: (dash: number[]) => void (state.dash = dash),
    save: () => void kept.push({ ...state }),
    restore: () => void Object.assign(state, kept.pop() ?? FRESH),
    clip: () => {
      clips += 1;
      out.push(`<clipPath id="${id}-${clips}"><path d="${path}"/></clipPath>`);
      state.clipped = `url(#${id}-${clips})`;
    },
  };
  // The drawing's properties and the pen's are one object, as they are on a canvas.
  return { pen: Object.assign(state, methods) as unknown as Pen, content: () => out.join("") };
}
