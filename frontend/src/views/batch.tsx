// One batch: its samples and classes, what was measured of it, its gradients by layer, its neighbours, and the same samples elsewhere.

import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";
import { openBatch, retry, zoom } from "../actions";
import { count, counted, num, percent, signed } from "../lib/format";
import { extent } from "../lib/path";
import { column } from "../lib/range";
import type { State } from "../state";
import type { Batch } from "../types";
import { Card } from "./card";
import { NotRecorded } from "./missing";
import { Plot } from "./plot";

/** Ids and layers that are shown before "more". */
const FEW = 24;
const LAYERS = 12;

function Part({ title, aside = "", children }: { title: string; aside?: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="piece">
      <h3>
        {title} <small>{aside}</small>
      </h3>
      {children}
    </section>
  );
}

/** Bars on one scale: the value, with what is usual as a line across. */
function Bars({ rows }: { rows: readonly { name: string; value: number; usual: number; text: string }[] }): JSX.Element {
  const most = Math.max(...rows.flatMap((row) => [row.value, row.usual])) || 1;
  return (
    <ul class="usual">
      {rows.map(({ name, value, usual, text }) => (
        <li>
          <span title={name}>{name}</span>
          <div>
            <b style={{ width: `${(100 * value) / most}%` }} />
            <i style={{ left: `${(100 * usual) / most}%` }} />
          </div>
          <span>{text}</span>
        </li>
      ))}
    </ul>
  );
}

function Numbers({ batch }: { batch: Batch }): JSX.Element {
  return (
    <table class="numbers">
      <thead>
        <tr>
          <th>signal</th>
          <th>here</th>
          <th>around</th>
          <th title="distance in robust standard deviations">off</th>
        </tr>
      </thead>
      <tbody>
        {batch.numbers.map(({ name, label, unit, value, usual, z }) => (
          <tr title={name}>
            <td>{unit === "" ? label : `${label}, ${unit}`}</td>
            <td>{num(value)}</td>
            <td>{num(usual)}</td>
            <td class={Math.abs(z ?? 0) >= 5 ? "far" : ""}>{signed(z, 2)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Layers({ batch }: { batch: Batch }): JSX.Element | null {
  const { names, value, usual, batch: at } = batch.layers;
  const rows = names
    .map((name, index) => ({ name, value: value[index] ?? 0, usual: usual[index] ?? 0 }))
    .sort((a, b) => b.value / (b.usual || 1) - a.value / (a.usual || 1))
    .slice(0, LAYERS)
    .map((row) => ({ ...row, text: row.usual > 0 ? `×${num(row.value / row.usual, 2)}` : num(row.value, 2) }));
  if (rows.length === 0) return null;
  const where = at === batch.batch ? "" : `read ${counted(Math.abs(at - batch.batch), "batch", "batches")} ${at < batch.batch ? "before" : "after"} it`;
  return (
    <Part title="Gradient by layer" aside={[where, names.length > LAYERS ? `the ${LAYERS} of ${names.length} furthest off` : "", "line: usual"].filter((text) => text !== "").join(" · ")}>
      <Bars rows={rows} />
    </Part>
  );
}

function Samples({ batch }: { batch: Batch }): JSX.Element | null {
  if (batch.ids.length === 0) return null;
  const some = batch.ids.slice(0, FEW).join(", ");
  return (
    <Part title={counted(batch.samples, "sample", "samples")}>
      {batch.ids.length <= FEW ? (
        <p class="ids">{some}</p>
      ) : (
        <details class="ids">
          <summary>
            <span>{some}, … {count(batch.samples - FEW)} more</span>
          </summary>
          {batch.ids.slice(FEW).join(", ")}
          {batch.samples > batch.ids.length ? ", …" : ""}
        </details>
      )}
    </Part>
  );
}

function Visits({ batch }: { batch: Batch }): JSX.Element | null {
  if (batch.visits.said === "") return null;
  const [epoch, loss, held, most] = ["epoch", "loss", "batch", "most"].map((name) => column(batch.visits, name));
  const biggest = (most ?? []).indexOf(Math.max(...(most ?? []).map((value) => value ?? 0)));
  const other = held?.[biggest] ?? null;
  return (
    <Part title="The same samples in other epochs" aside={batch.visits.epochs > 1 ? "loss by epoch" : ""}>
      <p class="note">
        {batch.visits.said}{" "}
        {other === null ? null : (
          <button type="button" class="more" onClick={() => openBatch(other)}>
            batch {count(other)} holds {count(most?.[biggest] ?? 0)} of them
          </button>
        )}
      </p>
      {(epoch ?? []).length > 1 ? <Plot xs={epoch ?? []} lines={[{ ys: loss ?? [], dots: true }]} label="Loss of the same samples by epoch" /> : null}
    </Part>
  );
}

function Body({ batch, dark }: { batch: Batch; dark: boolean }): JSX.Element {
  // What did not change is not drawn again in each frame of a zoom.
  return useMemo(() => pieces(batch), [batch, dark]);
}

function pieces(batch: Batch): JSX.Element {
  const offsets = column(batch.around, "offset");
  const grads = column(batch.around, "grad_norm");
  return (
    <div class="pieces">
      <Part title="Loss of its neighbours" aside="20 batches a side">
        <Plot xs={offsets} lines={[{ ys: column(batch.around, "loss"), dots: true }]} at={0} label={`Loss around batch ${batch.batch}`} />
      </Part>
      {extent(grads) === null ? null : (
        <Part title="Gradient norm of its neighbours" aside="where it was read">
          <Plot xs={offsets} lines={[{ ys: grads, dots: true }]} at={0} label={`Gradient norm around batch ${batch.batch}`} />
        </Part>
      )}
      <Part title="What was measured">
        <Numbers batch={batch} />
      </Part>
      {batch.classes.length === 0 ? null : (
        <Part title="Classes" aside="line: share in the data set">
          <Bars rows={batch.classes.map((row) => ({ name: `class ${row.class}`, value: row.share, usual: row.usual, text: `${count(row.count)} · ${percent(row.share)}` }))} />
        </Part>
      )}
      <Layers batch={batch} />
      <Visits batch={batch} />
      <Samples batch={batch} />
    </div>
  );
}

export function BatchDetail({ state }: { state: State }): JSX.Element {
  const value = state.batch.value?.batch === state.place.batch ? state.batch.value : null;
  const at = state.place.batch ?? 0;
  return (
    <Card
      area="batch"
      title={`Batch ${count(at)}`}
      load={{ ...state.batch, value }}
      onRetry={() => retry("batch")}
      note={value === null ? null : <span class="sub">{value.epoch === null ? "" : `epoch ${value.epoch} · batch ${count(value.index ?? 0)} of it · `}step {count(value.step)}{value.numbers[0]?.name === "loss" ? null : <b> · no finite loss</b>}</span>}
      aside={
        <>
          <button type="button" class="plain" aria-label="The batch before" onClick={() => openBatch(Math.max(0, at - 1))}>
            ‹
          </button>
          <button type="button" class="plain" aria-label="The batch after" onClick={() => openBatch(at + 1)}>
            ›
          </button>
          <button type="button" class="button small" onClick={() => zoom(at - 50, at + 51)}>
            In the timeline
          </button>
          <button type="button" class="button small" onClick={() => openBatch(null)}>
            Close
          </button>
        </>
      }
    >
      {(batch) => (
        <>
          <Body batch={batch} dark={state.dark} />
          <NotRecorded missing={batch.missing} />
        </>
      )}
    </Card>
  );
}
