// All epochs on one axis: their lines, a map of epoch by position, and what an epoch does at each position.

import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { retry, setColour, zoom } from "../actions";
import type { Label } from "../chart/draw";
import type { Area } from "../chart/pen";
import { count, counted, num, signed } from "../lib/format";
import { GUTTER } from "../lib/frame";
import { lessLevel, readCell, tickPositions } from "../lib/fold";
import { ramp, shades } from "../lib/heat";
import { extent, linear } from "../lib/path";
import { column } from "../lib/range";
import type { State } from "../state";
import type { Fold, Overlay } from "../types";
import { Card } from "./card";
import { Heat, Key } from "./heat";
import { type Palette, readPalette } from "./palette";
import { type Line, Plot } from "./plot";
import { useWidth } from "./use";

const LINES = 150;
/** Losses that differ by more than this factor are drawn on a log axis. */
const WIDE = 50;
const SIDES = [GUTTER.left, GUTTER.right] as const;

function endsOf({ length }: Fold): [number, number] {
  return [0, Math.max(1, length)];
}

function areaOf(width: number, height: number, top = 6): Area {
  return { left: GUTTER.left, top, width: Math.max(1, width - GUTTER.left - GUTTER.right), height };
}

/** The lines of the epochs, later ones stronger, with the one of the chosen boundary in ink. */
export function Epochs({ overlay, chosen, ...rest }: { overlay: Overlay; chosen: number | null } & Omit<Parameters<typeof Plot>[0], "xs" | "lines" | "label">): JSX.Element {
  const { position, epoch, columns } = overlay;
  const lines: Line[] = columns.map((ys, index) => ({ ys, alpha: 0.2 + (0.5 * index) / columns.length }));
  const strong = columns[epoch.indexOf(chosen ?? -1)];
  if (strong !== undefined) lines.push({ ys: strong, ink: true });
  return <Plot xs={position} lines={lines} wide={WIDE} label={`Loss of ${count(epoch.length)} epochs by position in the epoch`} {...rest} />;
}

/** The mean of all epochs, each less its own mean, with its interval. */
function Profile({ fold, ticks }: { fold: Fold; ticks: readonly Label[] }): JSX.Element | null {
  const [mean = [], low = [], high = []] = ["mean", "low", "high"].map((name) => column(fold.profile, name));
  const range = extent([...low, ...high, 0]);
  if (range === null || extent(mean) === null) return null;
  return (
    <>
      <h3 class="part">
        Mean of {counted(fold.profile.epochs, "whole epoch", "whole epochs")}, each less its own mean <small>band: 95{"\u202f"}% interval</small>
      </h3>
      <Plot xs={fold.position} lines={[{ ys: mean }]} band={{ low, high }} least={0} ends={endsOf(fold)} sides={SIDES} ticks={ticks} label={`Mean deviation by position, ${signed(range[0])} to ${signed(range[1])}`} />
    </>
  );
}

function Map({ width, fold, palette, mode, say }: { width: number; fold: Fold; palette: Palette; mode: "less" | "value"; say: (text: string) => void }): JSX.Element | null {
  const rows = useMemo(() => (mode === "less" ? lessLevel(fold) : fold.cells), [fold, mode]);
  const scale = useMemo(() => shades(rows, mode === "less"), [rows]);
  const colours = useMemo(() => ramp(mode === "less" ? [palette.data, palette.card, palette.validation] : [palette.card, palette.data]), [palette, mode]);
  const area = useMemo(() => areaOf(width, Math.max(60, Math.min(240, rows.length * 16)), 2), [width, rows]);
  const x = linear([0, Math.max(1, fold.length)], [area.left, area.left + area.width]);
  const edges = useMemo(() => [...fold.position, fold.length].map(x), [fold, area]);
  const ticks = useMemo(() => tickPositions(fold.length, area.width).map((at) => ({ at: x(at), text: count(at) })), [fold, area]);
  if (scale === null) return <p class="note">No loss is known in any epoch.</p>;
  const show = (value: number): string => (mode === "less" ? signed(value, 2) : num(value, 2));
  return (
    <>
      <div class="part">
        <h3>
          {fold.per_row === 1 ? "Each row an epoch" : `Each row ${fold.per_row} epochs`}, from the first at the top
        </h3>
        <Key colours={colours} low={show(scale.low)} high={show(scale.high)} title={scale.log ? "log" : ""} />
        <select aria-label="Colour" value={mode} onChange={(event) => setColour(event.currentTarget.value === "value" ? "value" : "less")}>
          <option value="less">loss less its epoch’s mean</option>
          <option value="value">loss</option>
        </select>
      </div>
      <Heat
        label={`Loss by epoch and position: ${fold.said}`}
        width={width}
        area={area}
        rows={rows}
        names={fold.epoch.map(String)}
        edges={edges}
        ticks={ticks}
        shades={scale}
        colours={colours}
        palette={palette}
        onCell={(row, at) => say(row === null ? "" : readCell(fold, row, at))}
        onPick={(row, at) => {
          const first = (fold.batch[row] ?? 0) + (fold.position[at] ?? 0);
          const size = (fold.position[at + 1] ?? fold.length) - (fold.position[at] ?? 0);
          zoom(first - 2 * size - 5, first + 3 * size + 5);
        }}
      />
    </>
  );
}

const HELP = "arrow keys or pointer read a cell · click or Enter zooms the timeline there";

function Body({ state, fold, say }: { state: State; fold: Fold; say: (text: string) => void }): JSX.Element {
  const [ref, width] = useWidth();
  const palette = useMemo(readPalette, [state.dark]);
  const ticks = useMemo(() => tickPositions(fold.length, width).map((at) => ({ at, text: count(at) })), [fold, width]);
  const { diagnosis, place, overlay } = state;
  const chosen = diagnosis.value?.boundaries.find((item) => item.index === place.boundary)?.epoch ?? null;
  // Elements that stay the same are not drawn again in each frame of a zoom.
  const lines = useMemo(
    () => overlay.value && <Epochs overlay={overlay.value} chosen={chosen} ends={endsOf(fold)} sides={SIDES} height={LINES} ticks={null} />,
    [overlay.value, fold, chosen, state.dark],
  );
  const profile = useMemo(() => <Profile fold={fold} ticks={ticks} />, [fold, ticks, state.dark]);
  return (
    <div ref={ref}>
      <p class="told">{fold.said}</p>
      {overlay.value === null || overlay.value.epoch.length === 0 ? null : (
        <>
          <h3 class="part">
            {fold.epochs > overlay.value.epoch.length ? `${count(overlay.value.epoch.length)} of ${count(fold.epochs)} epochs` : counted(fold.epochs, "epoch", "epochs")}, aligned at batch 0{" "}
            <small>later ones are stronger{chosen === null ? "" : `; in ink: epoch ${chosen}`}</small>
          </h3>
          {lines}
        </>
      )}
      {width === 0 ? null : <Map width={width} fold={fold} palette={palette} mode={place.colour} say={say} />}
      {profile}
    </div>
  );
}

/** Without epochs: the line of code that tells them. */
function NoEpochs(): JSX.Element {
  return (
    <p class="note">
      No epoch is known here, so there is nothing to lay over each other. Epochs are known from <code>train_loader = writer.wrap(train_loader)</code> or{" "}
      <code>writer.start_epoch(epoch)</code>.
    </p>
  );
}

export function EpochsCard({ state }: { state: State }): JSX.Element {
  const words = useRef<HTMLSpanElement>(null);
  const say = (text: string): void => {
    if (words.current !== null) words.current.textContent = text === "" ? HELP : text;
  };
  return (
    <Card
      area="epochs"
      title="Epochs"
      load={state.fold}
      onRetry={() => retry("fold")}
      aside={
        <span class="readout" ref={words} aria-live="polite">
          {HELP}
        </span>
      }
    >
      {(fold) => (fold.epochs === 0 ? <NoEpochs /> : <Body state={state} fold={fold} say={say} />)}
    </Card>
  );
}
