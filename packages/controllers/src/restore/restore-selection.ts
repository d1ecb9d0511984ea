/** What of a backup a restore takes. */
import { ANNOTATIONS, type RestoreSpec } from "@drayage/api";
import type { Discovery, GenericObject } from "@drayage/kube";
import { DATA_UPLOADS } from "../actions/item-id.ts";
import { VOLUME_SNAPSHOT_BACKUPS } from "../actions/volume-snapshot-backup-restore-action.ts";
import type { ArchivedItemRef } from "../ports.ts";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { NameFilter } from "../resource-selection/name-filter.ts";
import { resolveResources } from "../resource-selection/resource-filter.ts";

/** Needed by the restore itself, whatever is included. */
const MUST_HAVE: readonly string[] = [DATA_UPLOADS, VOLUME_SNAPSHOT_BACKUPS];

export class RestoreSelection {
  readonly #resources: NameFilter;
  readonly #namespaces: NameFilter;
  readonly #labels: LabelFilter;
  readonly #clusterResources: boolean | undefined;
  readonly #status: NameFilter | undefined;

  private constructor(spec: RestoreSpec, resources: NameFilter, status: NameFilter | undefined) {
    this.#resources = resources;
    this.#namespaces = new NameFilter(spec.includedNamespaces ?? [], spec.excludedNamespaces ?? []);
    this.#labels = new LabelFilter(spec.labelSelector, spec.orLabelSelectors);
    this.#clusterResources = spec.includeClusterResources ?? undefined;
    this.#status = status;
  }

  static async of(spec: RestoreSpec, discovery: Discovery, signal?: AbortSignal): Promise<RestoreSelection> {
    const resolve = (names: readonly string[] | null | undefined): Promise<string[]> => resolveResources(discovery, names ?? [], signal);
    const resources = new NameFilter(await resolve(spec.includedResources), await resolve(spec.excludedResources));
    const { restoreStatus } = spec;
    const status =
      restoreStatus === undefined || restoreStatus === null || (restoreStatus.includedResources?.length ?? 0) === 0
        ? undefined
        : new NameFilter(await resolve(restoreStatus.includedResources), await resolve(restoreStatus.excludedResources));
    return new RestoreSelection(spec, resources, status);
  }

  hasResource(groupResource: string): boolean {
    return this.#resources.has(groupResource) || MUST_HAVE.includes(groupResource);
  }

  /** Whether items of this place are looked for. Those of cluster scope come along when everything is restored, or when they are asked for. */
  hasPlace(groupResource: string, namespace: string | undefined): boolean {
    if (MUST_HAVE.includes(groupResource)) return true;
    if (namespace !== undefined) return this.#namespaces.has(namespace);
    return this.#clusterResources ?? this.#namespaces.hasEverything;
  }

  /** Whether an item may be restored, also when another one brings it along: then only what is excluded stays out. */
  admits(ref: ArchivedItemRef): boolean {
    if (!this.hasResource(ref.groupResource)) return false;
    if (ref.namespace === undefined) return this.#clusterResources !== false;
    return this.hasPlace(ref.groupResource, ref.namespace);
  }

  /** Whether labels have to be looked at. */
  get readsLabels(): boolean {
    return !this.#labels.isOpen;
  }

  hasLabels(groupResource: string, labels: Readonly<Record<string, string>> | undefined): boolean {
    return MUST_HAVE.includes(groupResource) || this.#labels.has(labels);
  }

  /** Whether an object gets its status back: it may say so itself. */
  restoresStatus(groupResource: string, item: GenericObject): boolean {
    const said = item.metadata.annotations?.[ANNOTATIONS.restoreStatus];
    if (said === "true" || said === "false") return said === "true";
    return this.#status?.has(groupResource) ?? false;
  }
}
