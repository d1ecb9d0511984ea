/** Discovery: what is served, in the aggregated form and in the older one. */
import type { Accepted } from "./content.ts";
import type { JsonObject } from "./json.ts";
import { apiVersionOf, type Catalog, type ServedResource } from "./served-resource.ts";
import { resourceUnknown } from "./status-error.ts";

export const VERSION = {
  major: "1",
  minor: "34",
  emulationMajor: "1",
  emulationMinor: "34",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "33",
  gitVersion: "v1.34.4",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: "linux/amd64",
} as const;

interface GroupVersions {
  readonly group: string;
  readonly versions: readonly { readonly version: string; readonly resources: readonly ServedResource[] }[];
}

/** Groups in the order they are served in, those of definitions last and by their names; the versions of each by preference. */
function groupsOf(catalog: Catalog): GroupVersions[] {
  const groups = new Map<string, Map<string, ServedResource[]>>();
  for (const resource of catalog.all()) {
    const versions = groups.get(resource.group) ?? new Map<string, ServedResource[]>();
    groups.set(resource.group, versions);
    versions.set(resource.version, [...(versions.get(resource.version) ?? []), resource]);
  }
  const all = [...groups].map(([group, versions]) => ({
    group,
    versions: [...versions]
      .sort(([a], [b]) => compareVersions(b, a))
      .map(([version, resources]) => ({ version, resources: resources.toSorted((a, b) => (a.plural < b.plural ? -1 : 1)) })),
  }));
  const defined = all.filter(isDefined).sort((a, b) => (a.group < b.group ? -1 : 1));
  return [...all.filter((it) => !isDefined(it)), ...defined];
}

function isDefined({ versions }: GroupVersions): boolean {
  return versions.every(({ resources }) => resources.every(({ custom }) => custom !== undefined));
}

/** `v2` before `v1` before `v2beta1` before `v1alpha1`, and those before anything else: negative when `a` is less preferred. */
export function compareVersions(a: string, b: string): number {
  const rank = (version: string): readonly [number, number, number] => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (match === null) return [0, 0, 0];
    return [match[2] === undefined ? 3 : match[2] === "beta" ? 2 : 1, Number(match[1]), Number(match[3] ?? 0)];
  };
  const left = rank(a);
  const right = rank(b);
  for (const [index, value] of left.entries()) if (value !== right[index]) return value - (right[index] ?? 0);
  return a < b ? 1 : a > b ? -1 : 0;
}

/** `/api`, `/apis`, `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`. Throws NotFound for a group or version that is not served. */
export function discovery(catalog: Catalog, path: string, accepted: Accepted, serverAddress: string): JsonObject {
  const [root, ...rest] = path.split("/").filter((it) => it !== "");
  if (rest.length === 0 && accepted.as === "APIGroupDiscoveryList") return aggregated(catalog, root === "api", accepted.asVersion);
  if (root === "api" && rest.length === 0)
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }] };
  if (root === "apis" && rest.length === 0)
    return {
      kind: "APIGroupList",
      apiVersion: "v1",
      groups: groupsOf(catalog)
        .filter((it) => it.group !== "")
        .map(groupObject),
    };
  const group = root === "api" ? "" : (rest[0] ?? "");
  const version = root === "api" ? rest[0] : rest[1];
  const found = groupsOf(catalog).find((it) => it.group === group);
  if (found === undefined) throw resourceUnknown();
  if (version === undefined) return { kind: "APIGroup", apiVersion: "v1", ...groupObject(found) };
  const versionFound = found.versions.find((it) => it.version === version);
  if (versionFound === undefined) throw resourceUnknown();
  return {
    kind: "APIResourceList",
    ...(group === "" ? {} : { apiVersion: "v1" }),
    groupVersion: apiVersionOf({ group, version }),
    resources: versionFound.resources.flatMap(resourceObjects),
  };
}

function groupObject(it: GroupVersions): JsonObject {
  const versions = it.versions.map(({ version }) => ({ groupVersion: apiVersionOf({ group: it.group, version }), version }));
  return { name: it.group, versions, preferredVersion: versions[0] ?? {} };
}

function resourceObjects(it: ServedResource): JsonObject[] {
  return [
    {
      name: it.plural,
      singularName: it.singular,
      namespaced: it.namespaced,
      kind: it.kind,
      verbs: [...it.verbs],
      ...(it.shortNames.length === 0 ? {} : { shortNames: [...it.shortNames] }),
      ...(it.categories.length === 0 ? {} : { categories: [...it.categories] }),
    },
    ...it.subresources.map((sub) => ({
      name: `${it.plural}/${sub.name}`,
      singularName: "",
      namespaced: it.namespaced,
      ...(sub.kind === undefined || sub.kind.version === "" ? {} : { group: sub.kind.group, version: sub.kind.version }),
      kind: sub.kind?.kind ?? it.kind,
      verbs: [...sub.verbs],
    })),
  ];
}

function aggregated(catalog: Catalog, legacy: boolean, apiVersion: string): JsonObject {
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion,
    metadata: {},
    items: groupsOf(catalog)
      .filter((it) => (it.group === "") === legacy)
      .map((it) => ({
        metadata: it.group === "" ? {} : { name: it.group },
        versions: it.versions.map(({ version, resources }) => ({ version, resources: resources.map(aggregatedResource), freshness: "Current" })),
      })),
  };
}

function aggregatedResource(it: ServedResource): JsonObject {
  const responseKind = { group: it.custom === undefined ? "" : it.group, version: it.custom === undefined ? "" : it.version, kind: it.kind };
  return {
    resource: it.plural,
    responseKind,
    scope: it.namespaced ? "Namespaced" : "Cluster",
    singularResource: it.singular,
    verbs: [...it.verbs],
    ...(it.shortNames.length === 0 ? {} : { shortNames: [...it.shortNames] }),
    ...(it.categories.length === 0 ? {} : { categories: [...it.categories] }),
    ...(it.subresources.length === 0
      ? {}
      : {
          subresources: it.subresources.map((sub) => ({
            subresource: sub.name,
            responseKind: sub.kind === undefined ? responseKind : { ...sub.kind },
            verbs: [...sub.verbs],
          })),
        }),
  };
}
