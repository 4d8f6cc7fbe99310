// No recording yet: how to make one.

import type { JSX } from "preact";
import { readHint } from "../lib/hint";
import { Code, Sentence } from "./text";

export function Empty({ hint }: { hint: string }): JSX.Element {
  const { sentence, code } = readHint(hint);
  return (
    <section class="card empty" aria-label="How to start">
      <h1>No recorded run here yet</h1>
      <p>
        <Sentence text={sentence} />
      </p>
      <Code code={code} name="the two lines" />
      <p class="note">Keep this tab open: a run shows up a few seconds after its first batch.</p>
    </section>
  );
}
