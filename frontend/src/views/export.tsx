// One list of everything that can be taken away from here.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api } from "../api";
import { fileName, shownJson, timelineCsv, viewCsv } from "../lib/export";
import { chartOf, download, pngOf, svgOf } from "../picture";
import type { State } from "../state";

type Make = (state: State, page: HTMLElement) => Promise<Blob | string> | string;

const FILES: readonly (readonly [label: string, end: string, type: string, make: Make])[] = [
  ["Picture, PNG", "page.png", "image/png", (_, page) => pngOf(page)],
  ["Picture, SVG", "page.svg", "image/svg+xml", (_, page) => svgOf(page)],
  ["Timeline, SVG", "timeline.svg", "image/svg+xml", (_, page) => chartOf(page)],
  ["Timeline, CSV", "timeline.csv", "text/csv", timelineCsv],
  ["View below, CSV", "view.csv", "text/csv", viewCsv],
  ["All that is shown, JSON", "shown.json", "application/json", shownJson],
  ["Report, markdown", "report.md", "text/markdown", async ({ place }) => (await api.report(place.run ?? "")).markdown],
];

export function Export({ state }: { state: State }): JSX.Element {
  const [failed, setFailed] = useState("");
  const write = async (at: number): Promise<void> => {
    if (at === FILES.length) window.print();
    const [, end, type, make] = FILES[at] ?? [];
    const page = document.querySelector("main");
    if (end === undefined || type === undefined || make === undefined || page === null) return;
    try {
      download(fileName(state.place.run ?? "", end), new Blob([await make(state, page)], { type }));
      setFailed("");
    } catch (error) {
      setFailed(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <select
      class="export"
      aria-label="Export"
      title={failed || undefined}
      value=""
      onChange={(event) => {
        void write(event.currentTarget.selectedIndex - 1);
        event.currentTarget.value = "";
      }}
    >
      <option value="">{failed === "" ? "Export" : "Not exported"}</option>
      {FILES.map(([label]) => (
        <option value={label}>{label}</option>
      ))}
      <option value="Print">Print</option>
    </select>
  );
}
