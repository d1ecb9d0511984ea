/** What is different on purpose between a real API server and ours, and how what a replay gave is held against it. */
import { expect } from "vitest";
import { stable } from "./api-exchange.ts";
import type { Replayed } from "./request-replay.ts";

export interface Difference {
  /** Of lines as `differences` gives them. */
  readonly where: RegExp;
  readonly why: string;
  /** What the real server does a moment later, so that it is seen or not. */
  readonly isByChance?: boolean;
}

/** Of every client. */
const OF_ALL: readonly Difference[] = [
  {
    where: / GET \/version \/body\/(gitCommit|gitTreeState|buildDate|goVersion|compiler|platform): /,
    why: "ours is built from other sources, by no Go compiler",
  },
  {
    where: / GET \/apis \/body\/items\/\d+\/versions\/\d+: \{"version":"v1","resources":\[\{"resource":"horizontalpodautoscalers"/,
    why: "autoscaling is served as v2 only",
  },
];

export const OF_KUBECTL: readonly Difference[] = [
  ...OF_ALL,
  {
    where: / GET \/openapi\/v3\S* \/(body|contentType)/,
    why: "our documents hold the schemas, and of the paths what kubectl reads: which resources there are, and that they take dry runs and field validation",
  },
  {
    where: / GET \/openapi\/v2 \//,
    why: "there is no second version of the schemas: kubectl, which asks for it in protobuf before it applies objects of a definition that is new, goes on without",
  },
  {
    where: /selfsubjectreviews \/body\/status\/userInfo\/uid: "admin" <> undefined$/,
    why: "the real server's administrator comes from a file of tokens, which names uids",
  },
  {
    where: /^kubectl delete crd \S+ \| GET \S+customresourcedefinitions\S* \//,
    why: "the objects of a definition, and with them its finalizer, go in the request that deletes it; the real server does it a moment later",
    isByChance: true,
  },
];

export const OF_VELERO: readonly Difference[] = [
  ...OF_ALL,
  {
    where: /^installation \| GET \/apis \/body\/items\/\d+[/:]/,
    why: "a definition that was just made is in discovery at once; the real server adds it a moment later",
    isByChance: true,
  },
  { where: / GET \S*\/clusterrolebindings \/body\//, why: "ours has no bindings for controllers of a control plane, which are part of it" },
];

/** Of what moves volumes. */
export const OF_VOLUMES: readonly Difference[] = [
  ...OF_VELERO,
  {
    where: /^node-agent \| GET \/api\/v1\/namespaces\/velero\/persistentvolumeclaims\/\S+ \//,
    why: "claims that nobody uses are let go in the request that deletes them; a controller of a control plane does it a moment later",
    isByChance: true,
  },
];

export const OF_SERVICES: Difference = {
  where: / GET \/api\/v1\/services \/body\/items\/0\/.*(\/targetPort|\/f:ipFamilyPolicy): /,
  why: "the Service `kubernetes` points to the port of each server, and each makes it in its own way",
};

/** What differs, one line for each place: during what, which request, where, and both values. */
function differences(replayed: readonly Replayed[]): string[] {
  return replayed.flatMap(({ exchange, recorded, replayed: ours }) => {
    // What the test itself asks, and when, is no matter of stock clients.
    if (exchange.headers["user-agent"] === "dray") return [];
    const request = `${exchange.during} | ${exchange.method} ${stable(exchange.path.replace(/\?.*/, "")) as string}`;
    return differingPlaces(recorded, ours).map((place) => `${request} ${place}`);
  });
}

/** What differs is in the table, and what is in the table differs. */
export function expectSame(replayed: readonly Replayed[], table: readonly Difference[]): void {
  const found = differences(replayed);
  expect(found.filter((line) => !table.some(({ where }) => where.test(line)))).toEqual([]);
  expect(table.filter(({ where, isByChance = false }) => !isByChance && !found.some((line) => where.test(line)))).toEqual([]);
}

function differingPlaces(left: unknown, right: unknown, path = ""): string[] {
  if (Object.is(left, right)) return [];
  if (typeof left === "object" && typeof right === "object" && left !== null && right !== null && Array.isArray(left) === Array.isArray(right)) {
    const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
    return [...keys].flatMap((key) => differingPlaces((left as Record<string, unknown>)[key], (right as Record<string, unknown>)[key], `${path}/${key}`));
  }
  return [`${path}: ${JSON.stringify(left)?.slice(0, 300)} <> ${JSON.stringify(right)?.slice(0, 300)}`];
}

/** What the clients under record have asked: methods and kinds. */
export function askedOf(replayed: readonly Replayed[]): string[] {
  const asked = replayed.filter(({ exchange }) => exchange.headers["user-agent"] !== "dray");
  return asked.map(({ exchange: { method, path } }) => `${method} ${/\/v\d\w*\/(?:namespaces\/[^/]+\/)?([a-z]+)/.exec(path)?.[1]}`);
}

/** Of which kinds a client has seen events. */
export function watchedKinds(replayed: readonly Replayed[]): (string | undefined)[] {
  const watched = replayed.filter(({ exchange, recorded }) => exchange.isWatch && (recorded.body as unknown[]).length > 0);
  return watched.map(({ exchange }) => /\/(\w+)\?/.exec(exchange.path)?.[1]);
}
