// SPDX-License-Identifier: Apache-2.0

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useAsk } from "./api";
import { IncidentView } from "./incident";
import { IncidentsView } from "./incidents";
import { type Line, opening, unknownSince } from "./live";
import { NowView } from "./now";
import { Failure, Icon } from "./parts";
import { type Place, usePlace } from "./router";
import { Search } from "./search";
import { SignIn } from "./signin";
import type { About } from "./types";

export function App() {
  const place = usePlace();
  const about = useAsk<About>("/v1/about");
  const [line, setLine] = useState<Line>(opening);
  const main = useRef<HTMLElement>(null);
  const path = useRef(place.path);
  useLayoutEffect(() => { // with the view: what is typed into it already is not lost
    if (path.current === place.path) return;
    path.current = place.path;
    main.current?.focus({ preventScroll: true }); // a new view, as a new page would be
    window.scrollTo(0, 0);
  }, [place.path]);
  const refused = about.failure;
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <Header place={place} title={about.data?.title} line={refused ? undefined : line} />
      <main id="main" ref={main} tabIndex={-1}>
        {refused?.status === 401 ? <SignIn then={about.again} />
          : refused && !about.data ? <Failure failure={refused} again={about.again} />
          : <View place={place} capacity={about.data?.capacity} onLine={setLine} />}
      </main>
      <footer>
        renat {about.data?.renat ?? ""} · <a href="/v1/openapi.json">API</a> · <a href="/assets/licences.txt">licences</a>
      </footer>
    </>
  );
}

function View({ place, capacity, onLine }: { place: Place; capacity: number | undefined; onLine: (l: Line) => void }) {
  if (place.path === "/incidents") return <IncidentsView query={place.query} onLine={onLine} />;
  const id = /^\/incidents\/([^/]+)$/.exec(place.path)?.[1];
  if (id !== undefined) return <IncidentView id={decodeURIComponent(id)} onLine={onLine} />;
  return <NowView query={place.query} capacity={capacity} onLine={onLine} />;
}

function Header({ place, title, line }: { place: Place; title: string | undefined; line: Line | undefined }) {
  const tab = (href: string, name: string, current: boolean) => (
    <a href={href} aria-current={current ? "page" : undefined}>{name}</a>
  );
  return (
    <header class="top">
      <div class="bar">
        <a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="26" height="26" />renat{title && <span class="serves">{title}</span>}</a>
        <nav aria-label="Views">
          {tab("/", "Now", place.path === "/")}
          {tab("/incidents", "Incidents", place.path.startsWith("/incidents"))}
        </nav>
        {line && <Search />}
        {line && <Pulse line={line} />}
      </div>
      <div role="status">
        {line?.problem && <p class="banner"><Icon name="evicting" /> {sentence(line.problem)}.</p>}
        {line?.state === "lost" && <p class="banner"><Icon name="silent" /> The connection to renat is lost. What you see may be old; trying again.</p>}
      </div>
    </header>
  );
}

const sentence = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

// Pulse says whether changes come in.
function Pulse({ line }: { line: Line }) {
  if (line.state === "off") return null;
  const stale = unknownSince(line) !== undefined;
  const words = stale ? "not live" : { opening: "connecting", open: "live", lost: "not live" }[line.state];
  return <span class={`pulse ${stale ? "lost" : line.state}`}><span class="dot" aria-hidden="true" />{words}</span>;
}
