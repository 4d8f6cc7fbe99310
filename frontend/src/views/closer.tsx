// What can be looked at below the timeline, one view at a time.

import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { setView } from "../actions";
import { type View, VIEWS } from "../lib/hash";
import type { State } from "../state";
import { BatchesCard } from "./batches";
import { CompareCard } from "./compare";
import { EpochsCard } from "./epochs";
import { LayersCard } from "./layers";
import { LensCard } from "./lens";

const NAMES: Record<View, string> = { boundary: "Boundaries", epochs: "Epochs", batches: "Batches", layers: "Layers", compare: "Compare" };
const CARDS: Record<View, (props: { state: State }) => JSX.Element | null> = { boundary: LensCard, epochs: EpochsCard, batches: BatchesCard, layers: LayersCard, compare: CompareCard };

export function Closer({ state }: { state: State }): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const { view } = state.place;
  const Shown = CARDS[view];
  const keys = (event: KeyboardEvent): void => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || event.shiftKey) return;
    // Elsewhere these keys step from boundary to boundary.
    event.stopPropagation();
    const next = VIEWS[(VIEWS.indexOf(view) + by + VIEWS.length) % VIEWS.length] ?? "boundary";
    setView(next);
    list.current?.querySelector<HTMLElement>(`#tab-${next}`)?.focus();
  };
  return (
    <div class="closer">
      <div class="tabs" role="tablist" aria-label="Look closer at" ref={list} onKeyDown={keys}>
        {VIEWS.map((name) => (
          <button key={name} type="button" role="tab" id={`tab-${name}`} aria-selected={name === view} aria-controls="closer" tabIndex={name === view ? 0 : -1} onClick={() => setView(name)}>
            {NAMES[name]}
          </button>
        ))}
      </div>
      <div id="closer" role="tabpanel" aria-labelledby={`tab-${view}`}>
        <Shown key={state.place.run} state={state} />
      </div>
    </div>
  );
}
