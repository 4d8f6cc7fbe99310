// A heat map as a view: drawn on a canvas, read by pointer or by keys, cell by cell.

import type { JSX } from "preact";
import { useCallback, useState } from "preact/hooks";
import { drawVertical, drawXAxis, type Label } from "../chart/draw";
import { drawFrame, drawHeat, drawRowNames } from "../chart/heat";
import { type Area, type Pen, within } from "../chart/pen";
import { cellAt, type Shades } from "../lib/heat";
import type { Num } from "../types";
import { Chart } from "./chart";
import type { Palette } from "./palette";

export interface HeatProps {
  label: string;
  width: number;
  /** Where the cells are; the names of rows stand left of it, those of columns below. */
  area: Area;
  rows: readonly (readonly Num[])[];
  names: readonly string[];
  /** The x of the sides of the columns, one more than there are columns. */
  edges: readonly number[];
  ticks: readonly Label[];
  shades: Shades;
  colours: readonly string[];
  palette: Palette;
  /** Upright lines over the map: where they are, their colour, and whether they are the chosen one. */
  marks?: readonly { at: number; colour: string; chosen: boolean }[];
  onCell: (row: number | null, column: number) => void;
  onPick?: (row: number, column: number) => void;
  /** A range of x was drawn. */
  onSelect?: (from: number, to: number) => void;
  onReset?: () => void;
  onWheel?: (event: WheelEvent & { currentTarget: Element }) => void;
}

const MOVES: Record<string, readonly [number, number]> = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const NO_MARKS: NonNullable<HeatProps["marks"]> = [];

export function Heat(props: HeatProps): JSX.Element {
  const { area, rows, names, edges, ticks, shades, colours, palette, marks = NO_MARKS, onCell, onPick } = props;
  const [at, setAt] = useState<readonly [number, number] | null>(null);
  const height = area.top + area.height + 22;
  const size = area.height / Math.max(1, rows.length);
  const paint = useCallback(
    (pen: Pen): void => {
      within(pen, area, () => drawHeat(pen, rows, edges, area, colours, shades.of));
      drawRowNames(pen, names, area, palette.mute);
      drawXAxis(pen, ticks, area, palette.mute);
      for (const { at: x, colour, chosen } of marks) {
        pen.strokeStyle = colour;
        pen.lineWidth = chosen ? 1.5 : 1;
        pen.setLineDash(chosen ? [3, 3] : []);
        drawVertical(pen, x, area);
      }
      pen.setLineDash([]);
      if (at !== null) drawFrame(pen, edges[at[1]] ?? 0, area.top + at[0] * size, Math.max(3, (edges[at[1] + 1] ?? 0) - (edges[at[1]] ?? 0)), size, palette.ink);
    },
    [rows, edges, area, colours, shades, names, ticks, marks, palette, at],
  );
  const find = (x: number, y: number): readonly [number, number] | null => {
    const column = cellAt(edges, x + area.left);
    return column < 0 || y < 0 || y >= area.height ? null : [Math.floor(y / size), column];
  };
  const move = (next: readonly [number, number] | null): void => {
    if (next?.[0] === at?.[0] && next?.[1] === at?.[1]) return;
    setAt(next);
    onCell(next === null ? null : next[0], next === null ? 0 : next[1]);
  };
  const keys = (event: KeyboardEvent): void => {
    const by = MOVES[event.key];
    if (event.key === "Enter" && at !== null) onPick?.(at[0], at[1]);
    if (by === undefined || event.shiftKey) return;
    // Elsewhere these keys step from boundary to boundary.
    event.stopPropagation();
    event.preventDefault();
    const clamp = (value: number, most: number): number => Math.max(0, Math.min(most, value));
    move(at === null ? [0, 0] : [clamp(at[0] + by[0], rows.length - 1), clamp(at[1] + by[1], edges.length - 2)]);
  };
  return (
    <div class="heat" role="group" aria-label={`${props.label}; arrow keys move from cell to cell`} tabIndex={0} onKeyDown={keys} onBlur={() => move(null)}>
      <Chart
        {...props}
        height={height}
        paint={paint}
        onHover={(x, y) => move(x === null ? null : find(x, y))}
        onClick={(x, y) => {
          const cell = find(x, y);
          if (cell !== null) onPick?.(cell[0], cell[1]);
        }}
      />
    </div>
  );
}

/** What the colours stand for: the least and the most value at the ends of a bar. */
export function Key({ colours, low, high, title }: { colours: readonly string[]; low: string; high: string; title: string }): JSX.Element {
  return (
    <span class="colour-key">
      {title} {low}
      <i style={{ background: `linear-gradient(90deg,${colours.join(",")})` }} />
      {high}
    </span>
  );
}
