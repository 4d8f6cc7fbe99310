// Why: the findings with what speaks for and against each, what was checked, and what was not.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { openFinding, setKind, showEvidence } from "../actions";
import { counted } from "../lib/format";
import { causeTitle, causeWords, kindWords } from "../lib/kinds";
import { groupSkipped, pill, toDo, where } from "../lib/words";
import type { State } from "../state";
import type { Diagnosis, EvidencePlace, Finding } from "../types";
import { Shape } from "./shape";
import { Code, Sentence } from "./text";

interface ListProps {
  title: string;
  items: readonly string[];
  places: readonly (EvidencePlace | null)[];
  index: number;
  shown: EvidencePlace | null;
}

function EvidenceList({ title, items, places, index, shown }: ListProps): JSX.Element {
  return (
    <>
      <h4 class="label">{title}</h4>
      <ul class="evidence">
        {items.length === 0 ? <li>nothing found</li> : null}
        {items.map((text, at) => {
          const place = places[at] ?? null;
          if (place === null)
            return (
              <li>
                <Sentence text={text} />
              </li>
            );
          return (
            <li>
              <button type="button" aria-pressed={shown === place} title="Show where this is drawn" onClick={() => showEvidence(place, index)}>
                <Sentence text={text} />
              </button>
            </li>
          );
        })}
      </ul>
    </>
  );
}

interface CardProps {
  finding: Finding;
  index: number;
  state: State;
  total: number;
  /** Its advice is part of the verdict already. */
  told: boolean;
}

function FindingCard({ finding, index, state, total, told }: CardProps): JSX.Element {
  const open = state.finding === index;
  const place = where(finding, total);
  return (
    <article class={`card finding k-${finding.kind}`} id={`finding-${index}`} aria-label={finding.title}>
      <header>
        <Shape kind={finding.kind} size={13} named />
        <h3>{finding.title}</h3>
        <span class="pill">{pill(finding)}</span>
      </header>
      <p>
        <Sentence text={finding.text} />
      </p>
      {open ? (
        <>
          <EvidenceList title="For" items={finding.evidence} places={finding.evidence_at} index={index} shown={state.highlight} />
          <EvidenceList title="Against" items={finding.against} places={finding.against_at} index={index} shown={state.highlight} />
          {finding.advice === "" || told ? null : (
            <p class="advice">
              <Sentence text={finding.advice} />
            </p>
          )}
          {finding.fix === "" ? null : <Code code={finding.fix} name="the fix" />}
          {finding.missing.length === 0 ? null : (
            <div class="skipped">
              <p class="note">To be certain, record:</p>
              <Code code={finding.missing.join("\n")} name="what to record" />
            </div>
          )}
          {finding.confirm === "" ? null : (
            <p class="note">
              To confirm: <Sentence text={finding.confirm} />
            </p>
          )}
        </>
      ) : (
        <button type="button" class="more" aria-expanded={false} onClick={() => openFinding(index)}>
          {[place, `${counted(finding.evidence.length, "line", "lines")} of evidence`].filter((text) => text !== "").join(" · ")}
        </button>
      )}
    </article>
  );
}

function CheckedCard({ checked, found }: { checked: Diagnosis["checked"]; found: boolean }): JSX.Element | null {
  if (checked.length === 0) return null;
  return (
    <article class="card finding k-benign quiet" aria-label="Checked, fine">
      <header>
        <Shape kind="benign" size={13} />
        <h3>{found ? counted(checked.length, "other cause", "other causes") : counted(checked.length, "cause", "causes")} tested</h3>
        <span class="pill">checked, fine</span>
      </header>
      <details>
        <summary>
          <span>{causeTitle(checked.map((item) => causeWords(item.cause)).join(", "))}</span>
        </summary>
        <ul>
          {checked.map((item) => (
            <li>
              <b>{causeTitle(item.cause)}</b>: <Sentence text={item.text} />
            </li>
          ))}
        </ul>
      </details>
    </article>
  );
}

function SkippedCard({ skipped }: { skipped: Diagnosis["skipped"] }): JSX.Element | null {
  if (skipped.length === 0) return null;
  return (
    <article class="card finding quiet" aria-label="Not checked">
      <header>
        <h3>Not checked</h3>
      </header>
      {groupSkipped(skipped).map((group) => (
        <div class="skipped">
          <p>
            <b>{group.title}</b>: <Sentence text={group.why} />
          </p>
          {group.how === "" ? null : <Code code={group.how} name="the line that records it" />}
        </div>
      ))}
    </article>
  );
}

export function Findings({ state }: { state: State }): JSX.Element | null {
  // What did not change is not gone through again: the page is drawn anew for each frame of a zoom.
  return useMemo(() => list(state), [state.diagnosis.value, state.finding, state.highlight, state.place.kind]);
}

/** One button for each kind that was found, where there are several: the list then holds that kind alone. */
function Kinds({ findings, chosen }: { findings: readonly Finding[]; chosen: string | null }): JSX.Element | null {
  const kinds = [...new Set(findings.map(({ kind }) => kind))];
  if (kinds.length < 2) return null;
  return (
    <div class="kinds" role="group" aria-label="Kinds of findings">
      {kinds.map((kind) => (
        <button type="button" class={`pill k-${kind}`} aria-pressed={kind === chosen} onClick={() => setKind(kind === chosen ? null : kind)}>
          <Shape kind={kind} size={10} />
          {findings.filter((finding) => finding.kind === kind).length} {kindWords(kind)}
        </button>
      ))}
    </div>
  );
}

function list(state: State): JSX.Element | null {
  const diagnosis = state.diagnosis.value;
  if (diagnosis === null) return null;
  const chosen = diagnosis.findings.find(({ kind }) => kind === state.place.kind)?.kind ?? null;
  return (
    <section class="findings" aria-label="Findings">
      <Kinds findings={diagnosis.findings} chosen={chosen} />
      {diagnosis.findings.map((finding, index) => chosen !== null && finding.kind !== chosen ? null : (
        <FindingCard key={`${finding.cause}/${finding.detail}/${index}`} finding={finding} index={index} state={state} total={diagnosis.pooled.total} told={index === 0 && toDo(diagnosis) !== ""} />
      ))}
      <CheckedCard checked={diagnosis.checked} found={diagnosis.findings.length > 0} />
      <SkippedCard skipped={diagnosis.skipped} />
    </section>
  );
}
