// No recording yet: how to make one.

import type { JSX } from "preact";
import { Code, Sentence } from "./text";

export const TWO_LINES = `from tb_losslens import LossLensWriter

writer = LossLensWriter("runs/exp1")       # instead of SummaryWriter
train_loader = writer.wrap(train_loader)   # the loop stays as it is`;

export function Empty({ hint }: { hint: string }): JSX.Element {
  return (
    <section class="card empty" aria-label="How to start">
      <h1>No recorded run here yet</h1>
      <p>
        <Sentence text={hint} />
      </p>
      <p>Two lines record every batch of a training:</p>
      <Code code={TWO_LINES} name="the two lines" />
      <p class="note">Keep this tab open: a run shows up a few seconds after its first batch.</p>
    </section>
  );
}
