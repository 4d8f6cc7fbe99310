// How to make a recording, where there is none yet or where only scalars are.

import type { JSX } from "preact";
import type { RunsResponse } from "../types";
import { Code, Sentence } from "./text";

/** The lines to paste, and where the loss comes from. */
export function Start({ code }: { code: string }): JSX.Element {
  return (
    <>
      <Code code={code} name="the two lines" />
      <p class="note">
        The loss is the scalar with “loss” in its tag that you write in every batch; where there is none, add <code>writer.log_batch(loss)</code>.
      </p>
    </>
  );
}

export function Empty({ runs: { hint, code } }: { runs: RunsResponse }): JSX.Element {
  return (
    <section class="card empty" aria-label="How to start">
      <h1>No recorded run here yet</h1>
      <p>
        <Sentence text={hint.replace(code, "")} />
      </p>
      <Start code={code} />
      <p class="note">Keep this tab open: a run shows up a few seconds after its first batch.</p>
    </section>
  );
}
