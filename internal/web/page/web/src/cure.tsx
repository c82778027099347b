// SPDX-License-Identifier: Apache-2.0

import { Card, Copy, Share } from "./parts";
import { incidentsHref } from "./router";
import { params, type Range } from "./range";
import type { Advice, Cause, Plan, Summary } from "./types";
import { causeWords, count, plural, word } from "./words";

// adviceOfFew is where advice comes from, with as many names as are shown.
export const adviceOfFew = "/v1/advice?limit=20";

// few are names to hover over, of so many in all.
const few = (names: string[], all: number) => names.join(", ") + (all > names.length ? ", …" : "");

// Why counts the causes.
export function Why({ s, range }: { s: Summary; range: Range }) {
  const causes = (Object.entries(s.causes) as [Cause, number][]).sort((a, b) => b[1] - a[1]);
  return (
    <Card id="why" title="Why they broke">
      <ul class="ranking">
        {causes.map(([cause, n]) => (
          <li key={cause}>
            <a href={incidentsHref({ cause, ...params(range) })}>{word(causeWords, cause)}</a>
            <Share of={n / s.total} />
            <span class="number">{count(n)}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

// Cure is what to do about it, in the words and numbers of renat advise.
export function Cure({ advice, causes, range }: { advice: Advice; causes: Summary["causes"]; range: Range }) {
  const deleted = causes.userspace_delete ?? 0;
  return (
    <Card id="cure" title="What to do">
      <Sizes advice={advice} />
      {deleted > 0 && (
        <p><a href={incidentsHref({ cause: "userspace_delete", ...params(range) })}>{plural(deleted, "connection")}</a> broke because a process deleted NAT entries: a larger map does not help against that.</p>
      )}
    </Card>
  );
}

// Sizes are Cilium's Helm values to set.
export function Sizes({ advice }: { advice: Advice }) {
  const { plan, maps, small, sizes, unmeasured } = advice;
  const [size, ...others] = plan.values;
  const incomplete = unmeasured > 0 && <p title={few(plan.unmeasured ?? [], unmeasured)}>Nothing is known of {plural(unmeasured, "node")}, which may need more.</p>;
  if (!size) {
    const why = plan.impossible ? `No setting is enough: ${plan.impossible}.` : maps > 0 ? "By what the agents measured, no setting needs to change." : "Nothing was measured.";
    return <><p>{why}</p>{incomplete}</>;
  }
  const nodes = [...new Set((plan.nodes ?? []).filter((n) => n.verdict === "grow" || n.verdict === "tight").map((n) => n.node))];
  return (
    <>
      <p class="advised">
        <code>{size.path}</code> {sizes && <>{sizes[0] < sizes[1] ? `${sizes[0]}…${sizes[1]}` : sizes[0]} → </>}<b>{size.value}</b>
        {small > 0 && <span title={few(nodes, small)}> on {plural(small, "node")}</span>}
      </p>
      {others.length > 0 && <p>With it: {others.map((v) => `${v.path} ${v.value}`).join(", ")}.</p>}
      {incomplete}
      {plan.impossible && <p>Not enough: {plan.impossible}.</p>}
      <p class="muted">Cilium's Helm values, by what the agents measured. <code>kubectl renat advise</code> reads Cilium's settings, too, and says what the change does.</p>
      <p class="actions"><Copy text={helm(plan)}>Copy as Helm values</Copy></p>
    </>
  );
}

// helm writes values whose paths have one dot as YAML.
function helm(plan: Plan): string {
  let section = "";
  return plan.values.map(({ path, value }) => {
    const [first, name] = path.split(".");
    const head = first === section ? "" : `${first}:\n`;
    section = first ?? "";
    return `${head}  ${name}: ${value}\n`;
  }).join("");
}
