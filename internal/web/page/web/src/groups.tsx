// SPDX-License-Identifier: Apache-2.0

import { Name, Time } from "./parts";
import { incidentHref } from "./router";
import type { Group, Summary } from "./types";
import { ago, causeWords, count, kindWords, word } from "./words";

// Groups are incidents that have workload, destination, node, kind and cause in
// common, those with the most first.
export function Groups({ s, filters }: { s: Summary; filters: string }) {
  return (
    <div class="card groups" tabIndex={0} role="region" aria-label="Groups of like incidents">
      <table>
        <thead>
          <tr>
            <th scope="col" class="number count">Count</th><th scope="col">Who</th><th scope="col">To</th><th scope="col" class="what">What broke</th>
            <th scope="col" class="cause">Cause</th><th scope="col" class="node">Node</th><th scope="col" class="number reset">Reset</th><th scope="col" class="last">Last</th>
          </tr>
        </thead>
        <tbody>
          {s.groups.map((g) => (
            <tr key={[g.workload, g.destination, g.node, g.kind, g.cause].join("\n")}>
              <td class="number" data-name="Count"><a href={inside(g, filters)} aria-label={`Show the ${g.count} incidents`}>{count(g.count)}</a></td>
              <td data-name="Who"><Name text={g.workload} /></td>
              <td data-name="To"><Name text={g.destination} /></td>
              <td data-name="What broke"><span class="cut" title={g.kind}>{word(kindWords, g.kind)}</span></td>
              <td data-name="Cause"><span class="cut" title={g.cause}>{word(causeWords, g.cause)}</span></td>
              <td data-name="Node"><Name text={g.node} /></td>
              <td class="number" data-name="Reset">{count(g.reset)}</td>
              <td data-name="Last"><a href={incidentHref(g.incident)}><Time at={g.last} text={ago(new Date(g.last))} /></a></td>
            </tr>
          ))}
        </tbody>
      </table>
      {s.more_groups > 0 && <p class="muted">{count(s.more_groups)} more groups have fewer incidents: filter to see them.</p>}
    </div>
  );
}

// inside is the address of the group's incidents.
function inside(g: Group, filters: string): string {
  const q = new URLSearchParams(filters);
  const only = { workload: g.workload, destination: g.destination, node: g.node, kind: g.kind, cause: g.cause };
  for (const [name, value] of Object.entries(only)) q.set(name, value);
  return "/incidents?" + q.toString();
}
