// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { Card, Time } from "./parts";
import type { Fleet, RiskPeer } from "./types";
import { ago, count, plural, word } from "./words";

const shown = 6;

// goneWords are what lacks of a connection, breakWords what breaks it.
const goneWords: Record<string, string> = { OUT: "OUT", IN: "IN", both: "OUT and IN" };
const breakWords: Record<string, string> = { pod: "the pod speaks", server: "the server speaks" };

// Risks are the connections that live and lack an entry, those for longest first.
export function Risks({ fleet: { at_risk: total, risks: listed } }: { fleet: Fleet }) {
  const [all, setAll] = useState(false);
  if (total === 0) return null;
  const few = all ? listed : listed.slice(0, shown);
  return (
    <Card id="risks" title={`${plural(total, "connection breaks", "connections break")} next`} aside={<span class="muted">their NAT entries are gone, and nobody has spoken yet</span>}>
      {listed.length > 0 && (
        <table>
          <thead><tr><th>Pod</th><th>Destination</th><th class="node">Node</th><th class="gone">Entry gone</th><th class="since">Since</th><th class="breaks">Breaks when</th></tr></thead>
          <tbody>
            {few.map((r) => (
              <tr key={`${r.cluster}/${r.node} ${r.protocol} ${r.source.address} ${r.destination.address}`}>
                <td data-name="Pod"><Peer p={r.source} name={r.source.pod && `${r.source.namespace ?? ""}/${r.source.pod}`} /></td>
                <td data-name="Destination"><Peer p={r.destination} name={r.destination.names?.[0]} /></td>
                <td data-name="Node"><span class="cut" title={r.node}>{r.node}</span></td>
                <td data-name="Entry gone">{word(goneWords, r.gone)}{r.guarded && ", though guarded"}</td>
                <td data-name="Since"><Time at={r.since} text={ago(new Date(r.since))} /></td>
                <td data-name="Breaks when">{word(breakWords, r.breaks)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {listed.length > few.length && <button type="button" onClick={() => setAll(true)}>Show {count(listed.length)}</button>}
      {total > listed.length && <p class="muted">{listed.length > 0 ? `${count(total - listed.length)} more are not listed here: ` : ""}<code>kubectl renat at-risk</code> lists them all.</p>}
    </Card>
  );
}

// Peer is one side by its name, if it has one, and its address.
function Peer({ p, name }: { p: RiskPeer; name: string | undefined }) {
  if (!name) return <span class="cut" title={p.address}>{p.address}</span>;
  return <><span class="cut" title={name}>{name}</span><span class="cut muted" title={p.address}>{p.address}</span></>;
}
