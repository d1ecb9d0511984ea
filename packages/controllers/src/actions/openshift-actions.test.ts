import type { Backup, Restore } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { type DiscoveredResource, fixedDiscovery, type GenericObject, type ResourceType } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { isFor } from "./backup-action.ts";
import type { ItemId } from "./item-id.ts";
import { createOpenShiftBackupActions, createOpenShiftRestoreActions, movedAccount } from "./openshift-actions.ts";

const OLD = "registry.old:5000";
const NEW = "image-registry.openshift-image-registry.svc:5000";
const constraints: ResourceType = {
  group: "security.openshift.io",
  version: "v1",
  plural: "securitycontextconstraints",
  kind: "SecurityContextConstraints",
  namespaced: false,
};
const streams: ResourceType = { group: "image.openshift.io", version: "v1", plural: "imagestreams", kind: "ImageStream", namespaced: true };

function cluster(registry: string): { readonly client: FakeKubeClient; readonly discovery: ReturnType<typeof fixedDiscovery> } {
  const client = new FakeKubeClient();
  const served = (type: ResourceType): DiscoveredResource =>
    ({ ...type, preferred: true, shortNames: [], verbs: ["get", "list"], categories: [] }) as unknown as DiscoveredResource;
  client.seed(streams, { metadata: { namespace: "openshift", name: "cli" }, status: { dockerImageRepository: `${registry}/openshift/cli` } });
  return { client, discovery: fixedDiscovery([served(constraints), served(streams)]) };
}

const object = (kind: string, rest: object = {}, metadata: GenericObject["metadata"] = {}): GenericObject => ({
  apiVersion: "v1",
  kind,
  metadata: { namespace: "shop", name: "it", ...metadata },
  ...rest,
});

async function restored(groupResource: string, item: GenericObject, spec: Restore["spec"] = {}): Promise<GenericObject | undefined> {
  const { client, discovery } = cluster(NEW);
  const id: ItemId = { groupResource, namespace: item.metadata.namespace, name: item.metadata.name ?? "" };
  const restore: Restore = { metadata: { name: "r" }, spec };
  const context = {
    restore,
    backup: { metadata: {}, spec: {} } as Backup,
    itemFromBackup: item,
    targetNamespace: "shop",
    log: nullLogger,
    signal: new AbortController().signal,
  };
  let current = item;
  for (const action of createOpenShiftRestoreActions(client, discovery).filter((candidate) => isFor(candidate, id, item))) {
    const result = await action.execute(current, context);
    if (result.skip === true) return undefined;
    current = result.item;
  }
  return current;
}

async function backedUp(groupResource: string, item: GenericObject) {
  const { client, discovery } = cluster(OLD);
  client.seed(constraints, { metadata: { name: "by-user" }, users: ["system:serviceaccount:shop:it"] });
  client.seed(constraints, { metadata: { name: "by-group" }, groups: ["system:serviceaccounts:shop"] });
  client.seed(constraints, { metadata: { name: "of-others" }, users: ["system:serviceaccount:other:it"] });
  const id: ItemId = { groupResource, namespace: "shop", name: "it" };
  const [action] = createOpenShiftBackupActions(client, discovery).filter((candidate) => isFor(candidate, id, item));
  return action?.execute(item, { backup: { metadata: {}, spec: {} }, log: nullLogger, signal: new AbortController().signal });
}

const owned = (kind: string, apiVersion: string) => ({ ownerReferences: [{ apiVersion, kind, name: "o", uid: "u" }] });
const fromOld = { annotations: { "openshift.io/backup-registry-hostname": OLD } };

describe("on the way into a backup", () => {
  it("a service account brings the constraints that name it or its namespace", async () => {
    const result = await backedUp("serviceaccounts", object("ServiceAccount"));
    expect(result?.additionalItems?.map(({ name }) => name).sort()).toEqual(["by-group", "by-user"]);
  });

  it("what names images is noted the registry that they may be in", async () => {
    expect((await backedUp("deployments.apps", object("Deployment")))?.item.metadata.annotations).toEqual(fromOld.annotations);
    expect(await backedUp("secrets", object("Secret"))).toBeUndefined();
  });
});

describe("on the way back", () => {
  it.each<[what: string, groupResource: string, item: GenericObject]>([
    ["a build", "builds.build.openshift.io", object("Build")],
    ["an image tag", "imagetags.image.openshift.io", object("ImageTag")],
    ["an image stream's tag", "imagestreamtags.image.openshift.io", object("ImageStreamTag")],
    ["what a DeploymentConfig makes", "replicationcontrollers", object("ReplicationController", {}, owned("DeploymentConfig", "apps.openshift.io/v1"))],
    ["the pod of a build", "pods", object("Pod", { spec: {} }, { annotations: { "openshift.io/build.name": "b" } })],
    ["the pod of a deployment", "pods", object("Pod", { spec: {} }, { labels: { "openshift.io/deployer-pod-for.name": "d" } })],
    ["what a build made", "configmaps", object("ConfigMap", {}, owned("Build", "build.openshift.io/v1"))],
    ["a service's certificate", "secrets", object("Secret", {}, { annotations: { "service.beta.openshift.io/originating-service-name": "s" } })],
    [
      "an account's pull secret",
      "secrets",
      object("Secret", { type: "kubernetes.io/dockercfg" }, { annotations: { "kubernetes.io/service-account.name": "default" } }),
    ],
    ["a binding that every project has", "rolebindings.rbac.authorization.k8s.io", object("RoleBinding", {}, { name: "system:image-pullers" })],
  ])("%s is left out", async (_what, groupResource, item) => expect(await restored(groupResource, item)).toBeUndefined());

  it.each<[what: string, groupResource: string, item: GenericObject]>([
    ["a Build of somebody else's", "configmaps", object("ConfigMap", {}, owned("Build", "shipwright.io/v1"))],
    ["a ReplicationController of nobody", "replicationcontrollers", object("ReplicationController")],
    ["a pull secret that a user made", "secrets", object("Secret", { type: "kubernetes.io/dockercfg" })],
    ["a route with a host of its own", "routes.route.openshift.io", object("Route", { spec: { host: "shop.example.com" } })],
  ])("%s comes back as it was", async (_what, groupResource, item) => expect(await restored(groupResource, item)).toEqual(item));

  it("a route gives up a host that the old cluster chose", async () => {
    const route = object("Route", { spec: { host: "it-shop.apps.old", to: { name: "web" } } }, { annotations: { "openshift.io/host.generated": "true" } });
    expect((await restored("routes.route.openshift.io", route))?.["spec"]).toEqual({ to: { name: "web" } });
  });

  it("images of the old internal registry are those of the new one, in the namespace that the restore goes to", async () => {
    const spec = {
      template: {
        spec: {
          containers: [{ image: `${OLD}/shop/web@sha256:00` }, { image: "docker.io/library/nginx" }],
          initContainers: [{ image: `${OLD}/openshift/cli` }],
        },
      },
    };
    const result = await restored("deployments.apps", object("Deployment", { spec }, fromOld), { namespaceMapping: { shop: "copy" } });
    expect(result?.["spec"]).toEqual({
      template: {
        spec: {
          containers: [{ image: `${NEW}/copy/web@sha256:00` }, { image: "docker.io/library/nginx" }],
          initContainers: [{ image: `${NEW}/openshift/cli` }],
        },
      },
    });
    expect(result?.metadata.annotations).toMatchObject({ "openshift.io/restore-registry-hostname": NEW });
    const config = object(
      "BuildConfig",
      { spec: { output: { to: { kind: "DockerImage", name: `${OLD}/shop/out:1` } }, strategy: { from: { kind: "ImageStreamTag", name: `${OLD}/x` } } } },
      fromOld,
    );
    expect((await restored("buildconfigs.build.openshift.io", config))?.["spec"]).toEqual({
      output: { to: { kind: "DockerImage", name: `${NEW}/shop/out:1` } },
      strategy: { from: { kind: "ImageStreamTag", name: `${OLD}/x` } },
    });
  });

  it("accounts and pods lose the pull secrets of the old cluster, and keep those of the user", async () => {
    const account = object("ServiceAccount", { secrets: [{ name: "it-dockercfg-abc" }], imagePullSecrets: [{ name: "it-dockercfg-abc" }, { name: "mine" }] });
    expect(await restored("serviceaccounts", account)).toEqual(object("ServiceAccount", { imagePullSecrets: [{ name: "mine" }] }));
    const pod = object("Pod", { spec: { serviceAccountName: "it", imagePullSecrets: [{ name: "it-dockercfg-abc" }] } });
    expect((await restored("pods", pod))?.["spec"]).toEqual({ serviceAccountName: "it" });
  });

  it("accounts are followed into another namespace, in constraints and bindings of both kinds", async () => {
    const spec = { namespaceMapping: { shop: "copy" } };
    const scc = object("SecurityContextConstraints", { users: ["system:serviceaccount:shop:it", "jane"], groups: ["system:serviceaccounts:shop"] });
    expect(await restored("securitycontextconstraints.security.openshift.io", scc, spec)).toMatchObject({
      users: ["system:serviceaccount:copy:it", "jane"],
      groups: ["system:serviceaccounts:copy"],
    });
    const binding = {
      ...object("RoleBinding", {
        subjects: [{ kind: "ServiceAccount", name: "it", namespace: "shop" }],
        userNames: ["system:serviceaccount:shop:it"],
        groupNames: null,
        roleRef: { namespace: "shop" },
      }),
      apiVersion: "authorization.openshift.io/v1",
    };
    expect(await restored("rolebindings.authorization.openshift.io", binding, spec)).toMatchObject({
      subjects: [{ namespace: "copy" }],
      userNames: ["system:serviceaccount:copy:it"],
      roleRef: { namespace: "copy" },
    });
    expect(movedAccount("system:serviceaccounts", { "": "x" })).toBe("system:serviceaccounts");
  });

  it("what scales a DeploymentConfig names it by the group that it has now", async () => {
    const scaler = (apiVersion: string, kind: string) =>
      object("HorizontalPodAutoscaler", { spec: { maxReplicas: 3, scaleTargetRef: { apiVersion, kind, name: "web" } } });
    expect((await restored("horizontalpodautoscalers.autoscaling", scaler("v1", "DeploymentConfig")))?.["spec"]).toEqual({
      maxReplicas: 3,
      scaleTargetRef: { apiVersion: "apps.openshift.io/v1", kind: "DeploymentConfig", name: "web" },
    });
    const other = scaler("apps/v1", "Deployment");
    expect(await restored("horizontalpodautoscalers.autoscaling", other)).toEqual(other);
  });

  it("a service of a load balancer gives up the old cluster's addresses", async () => {
    expect((await restored("services", object("Service", { spec: { type: "LoadBalancer", externalIPs: ["1.2.3.4"] } })))?.["spec"]).toEqual({
      type: "LoadBalancer",
    });
    expect((await restored("services", object("Service", { spec: { type: "ClusterIP", externalIPs: ["1.2.3.4"] } })))?.["spec"]).toMatchObject({
      externalIPs: ["1.2.3.4"],
    });
  });
});
