// SPDX-License-Identifier: Apache-2.0

import { useLayoutEffect, useState } from "preact/hooks";

export interface Place {
  path: string;
  query: URLSearchParams;
}

function here(): Place {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

const moved = new EventTarget();

// go shows another place; the back button comes back.
export function go(href: string): void {
  if (href === location.pathname + location.search) return;
  history.pushState(null, "", href);
  moved.dispatchEvent(new Event("moved"));
}

export function usePlace(): Place {
  const [place, setPlace] = useState(here);
  useLayoutEffect(() => { // before anybody can click
    const update = () => setPlace(here());
    moved.addEventListener("moved", update);
    window.addEventListener("popstate", update);
    return () => {
      moved.removeEventListener("moved", update);
      window.removeEventListener("popstate", update);
    };
  }, []);
  return place;
}

// followLinks makes links within the page change the view instead of loading.
export function followLinks(): void {
  document.addEventListener("click", (e) => {
    const link = (e.target as Element).closest?.("a");
    if (!link || e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    if (link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
    if (link.pathname.startsWith("/assets/") || link.pathname.startsWith("/v1/") || link.hash) return;
    e.preventDefault();
    go(link.pathname + link.search);
  });
}

export function incidentsHref(filters: Record<string, string>): string {
  const q = new URLSearchParams(Object.entries(filters).filter(([, v]) => v !== "")).toString();
  return "/incidents" + (q && "?" + q);
}

export function incidentHref(id: string): string {
  return "/incidents/" + encodeURIComponent(id);
}
