// What is not there because it was never recorded, and the line of code that records it.

import type { JSX } from "preact";
import { groupMissing } from "../lib/lens";
import type { Missing } from "../types";

/** A line of code is set as code; where the line is there already, the sentence that says why it gives nothing is not. */
export function NotRecorded({ missing }: { missing: readonly Missing[] }): JSX.Element {
  return (
    <>
      {groupMissing(missing).map(({ labels, how }) => (
        <p class="note">
          {labels}: not recorded. {/[(=]/.test(how) ? <code>{how}</code> : how}
        </p>
      ))}
    </>
  );
}
