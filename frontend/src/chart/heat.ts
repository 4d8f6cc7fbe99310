// A heat map: rows of cells, each a colour out of a few.

import type { Num } from "../types";
import { type Area, crisp, FONT, type Pen } from "./pen";

/** Cells of one colour beside each other are drawn as one. `edges` are the x of the sides of the columns, `shade` gives a colour's number. */
export function drawHeat(pen: Pen, rows: readonly (readonly Num[])[], edges: readonly number[], { top, height }: Area, colours: readonly string[], shade: (value: number) => number): void {
  const size = height / rows.length;
  rows.forEach((row, index) => {
    const [y, next] = [Math.round(top + index * size), Math.round(top + (index + 1) * size)];
    let open = -1;
    let from = 0;
    for (let column = 0; column <= row.length; column += 1) {
      const value = row[column] ?? null;
      const colour = value === null ? -1 : shade(value);
      if (colour === open) continue;
      const x = Math.round(edges[column] ?? 0);
      if (open >= 0) {
        pen.fillStyle = colours[open] ?? "";
        pen.fillRect(from, y, x - from, next - y);
      }
      [open, from] = [colour, x];
    }
  });
}

/** Names of rows at the left of the map, as many as there is room for. */
export function drawRowNames(pen: Pen, names: readonly string[], { left, top, height }: Area, ink: string, least = 13): void {
  const size = height / names.length;
  const every = Math.ceil(least / size);
  pen.font = FONT;
  pen.fillStyle = ink;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  names.forEach((name, index) => {
    if (index % every === 0) pen.fillText(ending(pen, name, left - 10), left - 8, top + (index + 0.5) * size);
  });
}

/** As much of the end of a name as fits: it tells layers apart. */
function ending(pen: Pen, name: string, room: number): string {
  if (pen.measureText(name).width <= room) return name;
  let from = 1;
  while (from < name.length && pen.measureText(`…${name.slice(from)}`).width > room) from += 1;
  return `…${name.slice(from)}`;
}

/** A frame around one cell. */
export function drawFrame(pen: Pen, left: number, top: number, width: number, height: number, ink: string): void {
  pen.strokeStyle = ink;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.rect(crisp(left), crisp(top), width, height);
  pen.stroke();
}
