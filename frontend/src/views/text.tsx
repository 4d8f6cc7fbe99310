// Text that the server or the user wrote: always text nodes, with code set as code.

import type { JSX } from "preact";
import { comments, pieces } from "../lib/words";
import { Copy } from "./copy";

/** A sentence; what stands between backticks is code. */
export function Sentence({ text }: { text: string }): JSX.Element {
  return <>{pieces(text).map((piece) => (piece.code ? <code>{piece.text}</code> : piece.text))}</>;
}

/** Lines of Python with a button that copies them. */
export function Code({ code, name }: { code: string; name: string }): JSX.Element {
  return (
    <div class="code">
      <pre aria-label={name}>
        {comments(code).map((line) => (
          <>
            {line.text}
            {line.comment === "" ? null : <i>{line.comment}</i>}
            {"\n"}
          </>
        ))}
      </pre>
      <Copy text={code} label="Copy" name={`Copy ${name}`} class="button small" />
    </div>
  );
}
