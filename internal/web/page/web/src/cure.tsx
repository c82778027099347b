// SPDX-License-Identifier: Apache-2.0

import { Card, Copy, Share } from "./parts";
import { incidentsHref } from "./router";
import { params, type Range } from "./range";
import type { Cause, Plan, Summary } from "./types";
import { causeWords, count, plural, word } from "./words";

// needing are the maps that the plan changes.
const needing = (plan: Plan) => (plan.nodes ?? []).filter((n) => n.verdict === "grow" || n.verdict === "tight");

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
export function Cure({ plan, causes, range }: { plan: Plan; causes: Summary["causes"]; range: Range }) {
  const deleted = causes.userspace_delete ?? 0;
  return (
    <Card id="cure" title="What to do">
      <Sizes plan={plan} />
      {deleted > 0 && (
        <p><a href={incidentsHref({ cause: "userspace_delete", ...params(range) })}>{plural(deleted, "connection")}</a> broke because a process deleted NAT entries: a larger map does not help against that.</p>
      )}
    </Card>
  );
}

// Sizes are Cilium's Helm values to set.
export function Sizes({ plan }: { plan: Plan }) {
  const [size, ...others] = plan.values;
  const unmeasured = plan.unmeasured ?? [];
  const incomplete = unmeasured.length > 0 && <p title={unmeasured.join(", ")}>Nothing is known of {plural(unmeasured.length, "node")}, which may need more.</p>;
  if (!size) {
    const why = plan.impossible ? `No setting is enough: ${plan.impossible}.` : plan.nodes?.length ? "By what the agents measured, no setting needs to change." : "Nothing was measured.";
    return <><p>{why}</p>{incomplete}</>;
  }
  const small = needing(plan);
  const now = [...new Set(small.map((n) => n.current_entries))].sort((a, b) => a - b);
  const nodes = [...new Set(small.map((n) => n.node))];
  return (
    <>
      <p class="advised">
        <code>{size.path}</code> {now.length > 0 && <>{now.length > 1 ? `${now[0]}…${now.at(-1)}` : now[0]} → </>}<b>{size.value}</b>
        {nodes.length > 0 && <span title={nodes.join(", ")}> on {plural(nodes.length, "node")}</span>}
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
