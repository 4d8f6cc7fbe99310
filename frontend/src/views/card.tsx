// One card: a heading and a body, or the state that the body waits in.

import type { ComponentChildren, JSX } from "preact";
import type { Load } from "../state";

interface Props<T> {
  area: string;
  title: string;
  load: Load<T>;
  onRetry: () => void;
  /** What stands right of the title. */
  aside?: ComponentChildren;
  /** What stands next to the title. */
  note?: ComponentChildren;
  children: (value: T) => ComponentChildren;
}

export function Failure({ sentence, onRetry }: { sentence: string; onRetry: () => void }): JSX.Element {
  return (
    <div class="failure" role="alert">
      <p>{sentence}</p>
      <button type="button" class="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

export function Card<T>({ area, title, load, onRetry, aside, note, children }: Props<T>): JSX.Element {
  const { value } = load;
  return (
    <section class={`card ${area}`} aria-label={title} aria-busy={load.status === "loading"}>
      <header>
        <h2>{title}</h2>
        {note}
        <div class="aside">{aside}</div>
      </header>
      {load.status === "failed" ? <Failure sentence={load.error} onRetry={onRetry} /> : null}
      {value === null ? load.status === "failed" ? null : <div class="waiting">Reading…</div> : children(value)}
    </section>
  );
}
