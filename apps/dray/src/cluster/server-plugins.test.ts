import { serverStatusRequests } from "@drayage/api";
import { server } from "@drayage/install";
import { type Deployment, deployments } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { addPlugin, pluginContainerName, pluginsOfServer, removePlugin } from "./server-plugins.ts";

const NS = "velero";
const IMAGE = "registry.example.com:5000/velero/velero-plugin-for-example:v1.2.3";
let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  client = new FakeKubeClient();
  terminal = new RecordingTerminal();
  client.seed(deployments, server({ namespace: NS, image: "drayage/dray:1" }) as unknown as Deployment);
});
const access = () => ({ client, namespace: NS });
const podSpec = () => client.peek(deployments, { namespace: NS, name: "drayage" })?.spec.template.spec;

describe("a plug-in of the server", () => {
  it("is an init container that copies itself to where the server looks, and goes without a trace of itself", async () => {
    expect(await addPlugin(access(), IMAGE, "Always", terminal)).toBe("velero-velero-plugin-for-example");
    expect(podSpec()).toMatchObject({
      initContainers: [
        { name: "velero-velero-plugin-for-example", image: IMAGE, imagePullPolicy: "Always", volumeMounts: [{ name: "plugins", mountPath: "/target" }] },
      ],
      volumes: expect.arrayContaining([{ name: "plugins", emptyDir: {} }]),
    });
    expect(podSpec()?.containers[0]?.volumeMounts).toContainEqual({ name: "plugins", mountPath: "/plugins" });
    await addPlugin(access(), "another", "IfNotPresent", terminal);
    expect(podSpec()?.volumes?.filter(({ name }) => name === "plugins")).toHaveLength(1);
    expect(await removePlugin(access(), IMAGE, terminal)).toBe("velero-velero-plugin-for-example");
    expect(await removePlugin(access(), "another", terminal)).toBe("another");
    expect(podSpec()?.initContainers).toEqual([]);
  });

  it("is not added twice, nor removed when it is not there, and the error names what is", async () => {
    await addPlugin(access(), "velero/x:1", "Always", terminal);
    await expect(addPlugin(access(), "velero/x:2", "Always", terminal)).rejects.toThrow('the server has "velero-x" of image "velero/x:1" already');
    await expect(removePlugin(access(), "y", terminal)).rejects.toThrow('Cannot remove plug-in "y": the server has "velero-x"');
  });

  it("has a name of its own where another registry has an image of the same path", async () => {
    await addPlugin(access(), "a.example.com/velero/x:1", "Always", terminal);
    expect(await addPlugin(access(), "b.example.com/velero/x:1", "Always", terminal)).toMatch(/^velero-x-[b-z2-9]{5}$/);
    expect(await removePlugin(access(), "b.example.com/velero/x:1", terminal)).toMatch(/^velero-x-/);
    expect(podSpec()?.initContainers).toMatchObject([{ name: "velero-x", image: "a.example.com/velero/x:1" }]);
  });

  it("is a matter of the DataProtectionApplication where there is one", async () => {
    client.mutate(deployments, { namespace: NS, name: "drayage" }, ({ metadata }) => {
      metadata.labels = { ...metadata.labels, "openshift.io/oadp": "True" };
      metadata.ownerReferences = [{ apiVersion: "oadp.openshift.io/v1alpha1", kind: "DataProtectionApplication", name: "dpa", uid: "u" }];
    });
    await expect(addPlugin(access(), "x", "Always", terminal)).rejects.toMatchObject({ code: "NOT_PERMITTED", hint: expect.stringContaining("customPlugins") });
  });

  it("is told by the server itself", async () => {
    client.react(serverStatusRequests, (_before, after) => {
      if (after === undefined || after.status?.phase !== undefined) return;
      client.mutate(serverStatusRequests, { namespace: NS, name: after.metadata.name ?? "" }, (request) => {
        request.status = { phase: "Processed", plugins: [{ kind: "ObjectStore", name: "velero.io/aws" }] };
      });
    });
    expect(await pluginsOfServer(access(), terminal)).toEqual([{ kind: "ObjectStore", name: "velero.io/aws" }]);
    expect(client.all(serverStatusRequests)).toEqual([]);
  });

  it.each([
    ["velero/velero-plugin-for-aws:v1.14.0", "velero-velero-plugin-for-aws"],
    ["localhost/a/b@sha256:00", "a-b"],
    ["Plug_In", "plug-in"],
    ["host:80/x", "x"],
  ])("of image %s is called %s", (image, name) => expect(pluginContainerName(image)).toBe(name));
});
