/**
 * What OpenShift's own kinds need on their way into a backup and back, as OADP's plug-in `openshift` does it: what the cluster makes by itself is left out,
 * addresses that it chose are given up, references to its internal registry follow it, and accounts are followed into other namespaces. On other clusters these steps meet nothing.
 * Names and annotations: openshift-velero-plugin. Images themselves are not copied.
 */
import { type Discovery, type GenericObject, type KubeClient, parseApiVersion } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, PODS, SECRETS, SERVICE_ACCOUNTS } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

const SECURITY_CONTEXT_CONSTRAINTS = "securitycontextconstraints.security.openshift.io";
const IMAGE_STREAMS = "imagestreams.image.openshift.io";
const BUILD_CONFIGS = "buildconfigs.build.openshift.io";
/** Kinds that name images: pods and their templates, streams, and what builds them. */
const WITH_IMAGES: ReadonlySet<string> = new Set([
  ...[PODS, "replicationcontrollers", "deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "jobs.batch", "cronjobs.batch"],
  ...["deploymentconfigs.apps.openshift.io", IMAGE_STREAMS, BUILD_CONFIGS],
]);
const BACKUP_REGISTRY = "openshift.io/backup-registry-hostname";
const RESTORE_REGISTRY = "openshift.io/restore-registry-hostname";
const GENERATED_HOST = "openshift.io/host.generated";
const ORIGINATING_SERVICES = ["service.alpha.openshift.io/originating-service-name", "service.beta.openshift.io/originating-service-name"];
/** Made with every project. */
const SYSTEM_BINDINGS: ReadonlySet<string> = new Set(["system:image-pullers", "system:image-builders", "system:deployers"]);

/** The internal registry's address, as the image streams that come with a cluster tell it; empty where there is none. Asked once. */
class InternalRegistry {
  readonly #client: KubeClient;
  readonly #discovery: Discovery;
  #address: Promise<string> | undefined;

  constructor(client: KubeClient, discovery: Discovery) {
    this.#client = client;
    this.#discovery = discovery;
  }

  address(signal: AbortSignal): Promise<string> {
    this.#address ??= this.#find(signal);
    return this.#address;
  }

  async #find(signal: AbortSignal): Promise<string> {
    const type = await this.#discovery.find(IMAGE_STREAMS, signal);
    if (type === undefined) return "";
    const { items } = await this.#client.list<GenericObject>(type, { namespace: "openshift", limit: 1, signal });
    const repository = (items[0] as { status?: { dockerImageRepository?: string } } | undefined)?.status?.dockerImageRepository ?? "";
    return repository.split("/")[0] ?? "";
  }
}

export function createOpenShiftBackupActions(client: KubeClient, discovery: Discovery): BackupAction[] {
  const registry = new InternalRegistry(client, discovery);
  let constraints: Promise<readonly Constraint[]> | undefined;
  const load = async (signal: AbortSignal): Promise<readonly Constraint[]> => {
    const type = await discovery.find(SECURITY_CONTEXT_CONSTRAINTS, signal);
    return type === undefined ? [] : ((await allOf(client.listAll<GenericObject>(type, { signal }))) as readonly Constraint[]);
  };
  return [
    {
      name: "openshift.io/service-account",
      groupResource: SERVICE_ACCOUNTS,
      async execute(item, { signal }) {
        constraints ??= load(signal);
        const { namespace, name } = item.metadata;
        const user = `system:serviceaccount:${namespace}:${name}`;
        const used = (await constraints).filter(
          ({ users, groups }) => users?.includes(user) === true || groups?.includes(`system:serviceaccounts:${namespace}`) === true,
        );
        return {
          item,
          additionalItems: used.map(
            ({ metadata }): ItemId => ({ groupResource: SECURITY_CONTEXT_CONSTRAINTS, namespace: undefined, name: metadata.name ?? "" }),
          ),
        };
      },
    },
    {
      name: "openshift.io/registry",
      groupResource: "*",
      matches: ({ groupResource }) => WITH_IMAGES.has(groupResource),
      async execute(item, { signal }) {
        const address = await registry.address(signal);
        return { item: address === "" ? item : annotated(item, BACKUP_REGISTRY, address) };
      },
    },
  ];
}

interface Constraint extends GenericObject {
  users?: string[] | null;
  groups?: string[] | null;
}

export function createOpenShiftRestoreActions(client: KubeClient, discovery: Discovery): RestoreAction[] {
  const registry = new InternalRegistry(client, discovery);
  return [
    ...leftOut(),
    routeAction,
    accountAction,
    podAction,
    serviceAction,
    scalerAction,
    constraintAction,
    ...bindingActions,
    {
      name: "openshift.io/registry",
      groupResource: "*",
      matches: ({ groupResource }, { metadata }) => WITH_IMAGES.has(groupResource) && metadata.annotations?.[BACKUP_REGISTRY] !== undefined,
      async execute(item, { restore, signal }) {
        const before = item.metadata.annotations?.[BACKUP_REGISTRY] ?? "";
        const after = await registry.address(signal);
        if (before === "" || after === "") return { item };
        const moved = withImages(item, (image) => movedImage(image, { before, after }, restore.spec.namespaceMapping ?? {}));
        return { item: annotated(moved as GenericObject, RESTORE_REGISTRY, after) };
      },
    },
  ];
}

/** What the new cluster makes by itself. */
function leftOut(): RestoreAction[] {
  const skip = (groupResource: string, name: string, why: (item: GenericObject) => string | undefined): RestoreAction => ({
    name: `openshift.io/${name}`,
    groupResource,
    async execute(item, { itemFromBackup, log }) {
      const reason = why(itemFromBackup);
      if (reason !== undefined) log.info(`Not restoring it: ${reason}`);
      return reason === undefined ? { item } : { item, skip: true };
    },
  });
  const ownedBy = (item: GenericObject, kind: string): boolean =>
    item.metadata.ownerReferences?.some((owner) => owner.kind === kind && owner.apiVersion.includes(".openshift.io/")) === true;
  return [
    skip("builds.build.openshift.io", "build", () => "a build is a thing of the past"),
    skip("imagetags.image.openshift.io", "image-tag", () => "its image stream brings it"),
    skip("imagestreamtags.image.openshift.io", "image-stream-tag", () => "its image stream brings it"),
    skip("replicationcontrollers", "replication-controller", (item) => (ownedBy(item, "DeploymentConfig") ? "its DeploymentConfig makes it" : undefined)),
    skip("configmaps", "config-map", (item) => (ownedBy(item, "Build") ? "a build made it" : undefined)),
    skip(PODS, "build-pod", ({ metadata }) => {
      if (metadata.annotations?.["openshift.io/build.name"] !== undefined) return "a build made it";
      return metadata.labels?.["openshift.io/deployer-pod-for.name"] === undefined ? undefined : "a deployment made it";
    }),
    skip(SECRETS, "secret", (item) => {
      const { annotations = {} } = item.metadata;
      if (ORIGINATING_SERVICES.some((key) => annotations[key] !== undefined)) return "its service makes it";
      const generated = item["type"] === "kubernetes.io/dockercfg" && annotations["kubernetes.io/service-account.name"] !== undefined;
      return generated ? "the cluster makes one for its service account" : undefined;
    }),
  ];
}

/** A host that the old cluster had chosen is chosen anew. */
const routeAction: RestoreAction = {
  name: "openshift.io/route",
  groupResource: "routes.route.openshift.io",
  async execute(item) {
    if (item.metadata.annotations?.[GENERATED_HOST] !== "true") return { item };
    const { host: _host, ...spec } = (item["spec"] ?? {}) as Record<string, unknown>;
    return { item: { ...item, spec } };
  },
};

type Named = { name?: string };

/** `<account>-dockercfg-<random>`: made for an account by each cluster. */
const isGenerated = ({ name = "" }: Named, account: string): boolean => name.startsWith(`${account}-dockercfg-`) || name.startsWith(`${account}-token-`);

const accountAction: RestoreAction = {
  name: "openshift.io/service-account",
  groupResource: SERVICE_ACCOUNTS,
  async execute(item) {
    const account = structuredClone(item) as GenericObject & { secrets?: Named[]; imagePullSecrets?: Named[] };
    for (const field of ["secrets", "imagePullSecrets"] as const) {
      const kept = account[field]?.filter((secret) => !isGenerated(secret, account.metadata.name ?? ""));
      if (kept === undefined || kept.length === account[field]?.length) continue;
      if (kept.length > 0) account[field] = kept;
      else delete account[field];
    }
    return { item: account };
  },
};

/** A pod gets the pull secrets of its account when it is created; those of the old cluster's account are not there. */
const podAction: RestoreAction = {
  name: "openshift.io/pod",
  groupResource: PODS,
  async execute(item) {
    const pod = item as GenericObject & { spec?: { serviceAccountName?: string; imagePullSecrets?: Named[] } };
    const { imagePullSecrets, ...spec } = pod.spec ?? {};
    const kept = imagePullSecrets?.filter((secret) => !isGenerated(secret, pod.spec?.serviceAccountName ?? "default"));
    if (kept === undefined || kept.length === imagePullSecrets?.length) return { item };
    return { item: { ...item, spec: kept.length === 0 ? spec : { ...spec, imagePullSecrets: kept } } };
  },
};

/** Addresses outside belong to the old cluster. */
const serviceAction: RestoreAction = {
  name: "openshift.io/service",
  groupResource: "services",
  async execute(item) {
    const { externalIPs, ...spec } = (item["spec"] ?? {}) as { type?: string; externalIPs?: string[] };
    return spec.type === "LoadBalancer" && externalIPs !== undefined ? { item: { ...item, spec } } : { item };
  },
};

/** What scales a DeploymentConfig names it by the group that it is served by now; old clusters wrote `v1`, by which it is not found any more. */
const scalerAction: RestoreAction = {
  name: "openshift.io/horizontal-pod-autoscaler",
  groupResource: "horizontalpodautoscalers.autoscaling",
  async execute(item) {
    const spec = (item["spec"] ?? {}) as { scaleTargetRef?: { apiVersion?: string; kind?: string } };
    const { scaleTargetRef } = spec;
    if (scaleTargetRef?.kind !== "DeploymentConfig" || scaleTargetRef.apiVersion !== "v1") return { item };
    return { item: { ...item, spec: { ...spec, scaleTargetRef: { ...scaleTargetRef, apiVersion: "apps.openshift.io/v1" } } } };
  },
};

/** `system:serviceaccount:<namespace>:<name>` and `system:serviceaccounts:<namespace>` in another namespace. */
export function movedAccount(name: string, mapping: Readonly<Record<string, string>>): string {
  const [, head, namespace = "", rest = ""] = /^(system:serviceaccounts?:)([^:]+)(.*)$/.exec(name) ?? [];
  const target = head === undefined ? undefined : mapping[namespace];
  return target === undefined ? name : `${head}${target}${rest}`;
}

const constraintAction: RestoreAction = {
  name: "openshift.io/scc",
  groupResource: SECURITY_CONTEXT_CONSTRAINTS,
  async execute(item, { restore }) {
    const mapping = restore.spec.namespaceMapping ?? {};
    const { users, groups } = item as Constraint;
    const moved = (names: readonly string[] | null | undefined) => names?.map((name) => movedAccount(name, mapping));
    return { item: { ...item, ...(users ? { users: moved(users) } : {}), ...(groups ? { groups: moved(groups) } : {}) } };
  },
};

interface Binding extends GenericObject {
  subjects?: { kind?: string; name?: string; namespace?: string }[];
  roleRef?: { namespace?: string };
  userNames?: string[] | null;
  groupNames?: string[] | null;
}

/** Groups of all accounts of a namespace, which Kubernetes' own step leaves; and OpenShift's bindings, which name users and groups once more. */
const bindingActions: readonly RestoreAction[] = [
  ...["rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"],
  ...["rolebindings.authorization.openshift.io", "clusterrolebindings.authorization.openshift.io"],
].map((groupResource) => ({
  name: `openshift.io/${groupResource.split(".")[0]}`,
  groupResource,
  async execute(item, { restore, log }) {
    if (groupResource.startsWith("rolebindings") && SYSTEM_BINDINGS.has(item.metadata.name ?? "")) {
      log.info("Not restoring it: every project has one");
      return { item, skip: true };
    }
    const mapping = restore.spec.namespaceMapping ?? {};
    const binding = structuredClone(item) as Binding;
    const isOpenShifts = parseApiVersion(binding.apiVersion ?? "").group === "authorization.openshift.io";
    for (const subject of binding.subjects ?? []) {
      if (subject.name !== undefined) subject.name = movedAccount(subject.name, mapping);
      const target = isOpenShifts ? mapping[subject.namespace ?? ""] : undefined;
      if (target !== undefined) subject.namespace = target;
    }
    const roleNamespace = mapping[binding.roleRef?.namespace ?? ""];
    if (isOpenShifts && binding.roleRef !== undefined && roleNamespace !== undefined) binding.roleRef.namespace = roleNamespace;
    if (binding.userNames) binding.userNames = binding.userNames.map((name) => movedAccount(name, mapping));
    if (binding.groupNames) binding.groupNames = binding.groupNames.map((name) => movedAccount(name, mapping));
    return { item: binding };
  },
}));

function annotated(item: GenericObject, key: string, value: string): GenericObject {
  return { ...item, metadata: { ...item.metadata, annotations: { ...item.metadata.annotations, [key]: value } } };
}

/** `registry/namespace/name…` of the old registry, in the new one and in the namespace that the restore goes to. */
export function movedImage(
  image: string,
  { before, after }: { readonly before: string; readonly after: string },
  mapping: Readonly<Record<string, string>>,
): string {
  if (!image.startsWith(`${before}/`)) return image;
  const [namespace = "", ...rest] = image.slice(before.length + 1).split("/");
  return [after, mapping[namespace] ?? namespace, ...rest].join("/");
}

/** Fields that hold the name of an image, wherever they are in a spec: containers, triggers, tags of a stream and strategies of a build. */
function withImages(node: unknown, change: (image: string) => string, key = "", parent: Readonly<Record<string, unknown>> = {}): unknown {
  if (typeof node === "string") {
    const isImage = key === "image" || key === "dockerImageRepository" || (key === "name" && parent["kind"] === "DockerImage");
    return isImage ? change(node) : node;
  }
  if (Array.isArray(node)) return node.map((child) => withImages(child, change));
  if (typeof node !== "object" || node === null) return node;
  const object = node as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(object).map(([name, child]) => [name, name === "metadata" && key === "" ? child : withImages(child, change, name, object)]),
  );
}
