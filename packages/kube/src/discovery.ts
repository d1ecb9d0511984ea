/** What the API serves. Aggregated discovery (two requests) where the server has it, the older lists group by group otherwise. */
import { DrayError, hasCode, mapLimit } from "@drayage/base";
import { apiVersionOf } from "./resource.ts";
import type { DiscoveredResource, Discovery, KubeClient } from "./types.ts";

const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
const REQUESTS_AT_ONCE = 8;

interface AggregatedGroups {
  readonly kind?: string;
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string };
    readonly versions?: readonly {
      readonly version: string;
      /** `Stale` when the server behind an aggregated API did not answer; its resources are then those of before, or none. */
      readonly freshness?: string;
      readonly resources?: readonly {
        readonly resource: string;
        readonly responseKind?: { readonly group?: string; readonly version?: string; readonly kind?: string };
        readonly scope?: string;
        readonly singularResource?: string;
        readonly verbs?: readonly string[];
        readonly shortNames?: readonly string[];
        readonly categories?: readonly string[];
      }[];
    }[];
  }[];
}

interface ApiGroupList {
  readonly groups?: readonly {
    readonly name: string;
    readonly versions?: readonly { readonly version: string }[];
    readonly preferredVersion?: { readonly version?: string };
  }[];
}

interface ApiResourceList {
  readonly resources?: readonly {
    readonly name: string;
    readonly singularName?: string;
    readonly namespaced: boolean;
    readonly kind: string;
    readonly verbs?: readonly string[];
    readonly shortNames?: readonly string[];
    readonly categories?: readonly string[];
  }[];
}

/** What is served, and the groups (`group/version`) whose own server did not say. */
interface Served {
  readonly resources: readonly DiscoveredResource[];
  readonly unavailable: readonly string[];
}

export function createDiscovery(client: Pick<KubeClient, "request">): Discovery {
  let loading: Promise<Served> | undefined;

  const served = (signal?: AbortSignal): Promise<Served> => {
    if (loading !== undefined) return loading;
    const mine = load(client, signal);
    loading = mine;
    // A failure (or an abort) is not remembered.
    mine.catch(() => {
      if (loading === mine) loading = undefined;
    });
    return mine;
  };
  const all = async (signal?: AbortSignal): Promise<readonly DiscoveredResource[]> => (await served(signal)).resources;

  return {
    all,
    unavailable: async (signal) => (await served(signal)).unavailable,
    async find(name, signal) {
      const wanted = name.toLowerCase();
      const [first = "", ...rest] = wanted.split(".");
      const resources = await all(signal);
      const matches = resources.filter((resource) => {
        const names = [resource.plural, resource.singular, resource.kind.toLowerCase(), ...resource.shortNames];
        if (names.includes(wanted)) return true;
        if (rest.length === 0 || !names.includes(first)) return false;
        // `datauploads.velero.io` or `datauploads.v2alpha1.velero.io`.
        const group = rest.join(".");
        return group === resource.group || group === `${resource.version}.${resource.group}`;
      });
      return matches.find(({ preferred }) => preferred) ?? matches[0];
    },
    async forKind(apiVersion, kind, signal) {
      return (await all(signal)).find((resource) => resource.kind === kind && apiVersionOf(resource) === apiVersion);
    },
    serverVersion: (signal) => client.request("GET", "/version", signal === undefined ? {} : { signal }),
    invalidate: () => {
      loading = undefined;
    },
  };
}

async function load(client: Pick<KubeClient, "request">, signal: AbortSignal | undefined): Promise<Served> {
  const options = { accept: AGGREGATED, ...(signal === undefined ? {} : { signal }) };
  const [core, groups] = [await client.request<AggregatedGroups>("GET", "/api", options), await client.request<AggregatedGroups>("GET", "/apis", options)];
  const served =
    core.kind === "APIGroupDiscoveryList" && groups.kind === "APIGroupDiscoveryList"
      ? { resources: [...fromAggregated(core), ...fromAggregated(groups)], unavailable: staleGroups(groups) }
      : await loadByGroup(client, groups as ApiGroupList, signal);
  if (served.resources.length === 0) throw new DrayError("KUBE_UNAVAILABLE", "Cannot discover what the API serves: the lists are empty");
  return served;
}

function staleGroups(list: AggregatedGroups): string[] {
  return (list.items ?? []).flatMap(({ metadata, versions = [] }) =>
    versions.filter(({ freshness }) => freshness === "Stale").map(({ version }) => `${metadata?.name ?? ""}/${version}`),
  );
}

function fromAggregated(list: AggregatedGroups): DiscoveredResource[] {
  return (list.items ?? []).flatMap((group) =>
    (group.versions ?? []).flatMap(({ version, resources }, order) =>
      (resources ?? []).flatMap(({ resource, responseKind, scope, singularResource, verbs, shortNames, categories }): DiscoveredResource[] => {
        // A resource that is served only through its subresources has no verbs of its own.
        if ((verbs?.length ?? 0) === 0) return [];
        return [
          {
            group: group.metadata?.name ?? "",
            version,
            plural: resource,
            kind: responseKind?.kind ?? "",
            namespaced: scope === "Namespaced",
            verbs: verbs ?? [],
            shortNames: shortNames ?? [],
            singular: singularResource ?? "",
            categories: categories ?? [],
            // Versions come in order of preference.
            preferred: order === 0,
          },
        ];
      }),
    ),
  );
}

async function loadByGroup(client: Pick<KubeClient, "request">, groups: ApiGroupList, signal: AbortSignal | undefined): Promise<Served> {
  const unavailable: string[] = [];
  const versions = [
    { group: "", version: "v1", preferred: true },
    ...(groups.groups ?? []).flatMap(({ name, versions = [], preferredVersion }) =>
      versions.map(({ version }) => ({ group: name, version, preferred: version === (preferredVersion?.version ?? versions[0]?.version) })),
    ),
  ];
  const lists = await mapLimit(versions, REQUESTS_AT_ONCE, async ({ group, version, preferred }) => {
    const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
    try {
      const list = await client.request<ApiResourceList>("GET", path, signal === undefined ? {} : { signal });
      return (list.resources ?? [])
        .filter(({ name }) => !name.includes("/"))
        .map(
          ({ name, singularName, namespaced, kind, verbs, shortNames, categories }): DiscoveredResource => ({
            group,
            version,
            plural: name,
            kind,
            namespaced,
            verbs: verbs ?? [],
            shortNames: shortNames ?? [],
            singular: singularName ?? "",
            categories: categories ?? [],
            preferred,
          }),
        );
    } catch (error) {
      // An aggregated API whose server is down must not hide the others; one whose definition has just gone serves nothing.
      if (!hasCode(error, "KUBE_UNAVAILABLE", "KUBE_NOT_FOUND")) throw error;
      if (error.code === "KUBE_UNAVAILABLE") unavailable.push(`${group}/${version}`);
      return [];
    }
  });
  return { resources: lists.flat(), unavailable };
}

/** A discovery over a fixed list, for what is known beforehand (and for tests). */
export function fixedDiscovery(resources: readonly DiscoveredResource[]): Discovery {
  return createDiscovery({
    request: async <R>(_method: string, path: string): Promise<R> => {
      const inCore = path === "/api";
      if (!inCore && path !== "/apis") return { major: "1", minor: "34", gitVersion: "v1.34.0" } as R;
      const groups = [...new Set(resources.map(({ group }) => group))].filter((group) => (group === "") === inCore);
      return {
        kind: "APIGroupDiscoveryList",
        items: groups.map((group) => {
          const members = resources.filter((resource) => resource.group === group);
          const order = [...new Set([...members].sort((a, b) => Number(b.preferred) - Number(a.preferred)).map(({ version }) => version))];
          return {
            metadata: { name: group },
            versions: order.map((version) => ({
              version,
              resources: members
                .filter((resource) => resource.version === version)
                .map(({ plural, kind, namespaced, singular, verbs, shortNames, categories }) => ({
                  resource: plural,
                  responseKind: { group, version, kind },
                  scope: namespaced ? "Namespaced" : "Cluster",
                  singularResource: singular,
                  verbs,
                  shortNames,
                  categories,
                })),
            })),
          };
        }),
      } as R;
    },
  });
}
