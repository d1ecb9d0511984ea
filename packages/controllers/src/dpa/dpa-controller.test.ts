import { type DataProtectionApplication, dataProtectionApplications } from "@drayage/api";
import type { Code } from "@drayage/base";
import { memoryLogger, seededRandom, VirtualClock } from "@drayage/base/testing";
import { configMaps, daemonSets, deployments, type KubeObject, type ResourceType, services } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import { startDpaController } from "./dpa-controller.ts";

const key = { namespace: "openshift-adp", name: "dpa" };
const OWNED = [configMaps, deployments, daemonSets, services] as readonly ResourceType<KubeObject>[];

const application: DataProtectionApplication = {
  metadata: key,
  spec: {
    backupImages: false,
    configuration: { velero: { noDefaultBackupLocation: true, defaultPlugins: ["aws"] }, nodeAgent: { enable: true, uploaderType: "kopia" } },
  },
};

/** What the controller makes of the application; `meanwhile` is called with each object that it makes. */
async function made(meanwhile: (client: FakeKubeClient) => void): Promise<readonly string[]> {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, statusSubresources: ["dataprotectionapplications.oadp.openshift.io"] });
  client.seed(dataProtectionApplications, application);
  for (const type of OWNED) client.react(type, (before, after) => before === undefined && after !== undefined && meanwhile(client));
  const deps = { client, clock, random: seededRandom(1), logger: memoryLogger(), namespace: key.namespace, image: "drayage:test" };
  const controller = startDpaController(deps);
  for (let turn = 0; turn < 20; turn++) {
    await clock.advance(100);
    await controller.idle();
  }
  await controller.stop();
  return OWNED.flatMap((type) => client.all(type).map(({ metadata }) => `${type.kind}/${metadata.name}`));
}

it("an application that is deleted while it is installed gets nothing more", async () => {
  const whole = await made(() => undefined);
  expect(whole).toContain("Deployment/velero");
  let isFirst = true;
  const begun = await made((client) => {
    if (isFirst) client.discard(dataProtectionApplications, key);
    isFirst = false;
  });
  // One more may be under way when the news comes.
  expect(begun.length).toBeLessThan(whole.length);
});

it.each<[Code, string]>([
  ["KUBE_INVALID", "Error"],
  ["KUBE_FORBIDDEN", "Error"],
  // What cannot answer has refused nothing.
  ["KUBE_UNAVAILABLE", "Complete"],
])("an application whose Deployment ends in %s has the condition %s until it does not any more", async (code, reason) => {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, statusSubresources: ["dataprotectionapplications.oadp.openshift.io"] });
  client.seed(dataProtectionApplications, application);
  const deps = { client, clock, random: seededRandom(1), logger: memoryLogger(), namespace: key.namespace, image: "drayage:test" };
  const controller = startDpaController(deps);
  const settled = async (seconds: number) => {
    for (let turn = 0; turn < seconds; turn++) {
      await clock.advance(1_000);
      await controller.idle();
    }
    return client.peek(dataProtectionApplications, key)?.status?.conditions?.map((condition) => [condition.type, condition.status, condition.reason]);
  };
  expect(await settled(3)).toEqual([["Reconciled", "True", "Complete"]]);
  const before = client.peek(deployments, { namespace: key.namespace, name: "velero" })?.metadata.resourceVersion;
  client.failNext({ verb: "apply", resource: "deployments.apps" }, code, 1_000);
  client.mutate(dataProtectionApplications, key, (dpa) => {
    dpa.spec.podDnsPolicy = "Default";
    dpa.metadata.generation = 2;
  });
  expect(await settled(3)).toEqual([["Reconciled", reason === "Complete" ? "True" : "False", reason]]);
  expect(client.peek(deployments, { namespace: key.namespace, name: "velero" })?.metadata.resourceVersion).toBe(before);
  client.intercept = undefined;
  expect(await settled(120)).toEqual([["Reconciled", "True", "Complete"]]);
  expect(client.peek(deployments, { namespace: key.namespace, name: "velero" })?.spec.template.spec.dnsPolicy).toBe("Default");
  await controller.stop();
});
