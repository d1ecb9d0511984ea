import { type DataMover, dataMovers, MOVER_INSTALLATIONS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { settle } from "@drayage/base/testing";
import { configMaps, daemonSets, deployments, namespaces } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { removeMover } from "./mover-remove.ts";

let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  client = new FakeKubeClient();
  terminal = new RecordingTerminal();
});

function registered(installations?: string): void {
  const mover: DataMover = {
    metadata: { name: "tar", ...(installations === undefined ? {} : { annotations: { [MOVER_INSTALLATIONS]: installations } }) },
    spec: { version: "1.0.0", description: "tar", module: "/mover/tar.ts", moduleFiles: "drayage-mover-tar", capabilities: { kinds: [] }, parameters: {} },
  };
  client.seed(dataMovers, mover);
  for (const name of ["a", "b"]) {
    client.seed(namespaces, { metadata: { name } });
    client.seed(configMaps, { metadata: { namespace: name, name: "drayage-mover-tar" }, data: {} });
  }
}
/** As `dray install` and as an operator makes them. */
function installed(...names: readonly ("a" | "b" | "c")[]): void {
  const template = { spec: { containers: [] } };
  for (const namespace of names)
    if (namespace === "b")
      client.seed(daemonSets, {
        metadata: { namespace, name: "node-agent", labels: { "app.kubernetes.io/managed-by": "drayage-operator" } },
        spec: { selector: {}, template },
      });
    else
      client.seed(deployments, { metadata: { namespace, name: "drayage", labels: { "app.kubernetes.io/name": "drayage" } }, spec: { selector: {}, template } });
}
const removeIn = (namespace: string): Promise<void> => removeMover("tar", { client, namespace }, terminal);
const left = () => [
  client.all(dataMovers).map(({ metadata }) => metadata.annotations?.[MOVER_INSTALLATIONS]),
  client.all(configMaps).map(({ metadata }) => metadata.namespace),
];

it("goes from one installation, and stays for the others", async () => {
  registered("a,b");
  await removeIn("a");
  expect(left()).toEqual([["b"], ["b"]]);
  expect(terminal.text).toBe('Mover "tar" is removed from namespace "a", and stays for b.\n');
});

it.each([["a"], [undefined], ["a,deleted"], ["*,a"]])("goes from the cluster with the last of the installations %j", async (installations) => {
  installed("a");
  registered(installations);
  await removeIn("a");
  expect(left()).toEqual([[], ["b"]]);
});

it("is not taken from installations by one that never had it", async () => {
  registered("b");
  await expect(removeIn("a")).rejects.toThrow('Cannot remove mover "tar" in namespace "a": it was added in b');
  expect(left()).toEqual([["b"], ["a", "b"]]);
});

it("of which nobody knows who registered it is not taken from an installation that may have", async () => {
  installed("a", "b");
  registered();
  await expect(removeIn("a")).rejects.toThrow(
    'Cannot remove mover "tar" in namespace "a": it is not noted which installation added it, and it may be that of b',
  );
  expect(left()).toEqual([[undefined], ["a", "b"]]);
});

it("stays for whoever registered it before that was noted, when it is removed where it was added since", async () => {
  installed("a", "b", "c");
  registered("*,b");
  await removeIn("b");
  expect(left()).toEqual([["*"], ["a"]]);
  expect(terminal.text).toBe('Mover "tar" is removed from namespace "b", and stays for an installation that is not noted.\n');
});

it("belongs to the only installation that has not noted it", async () => {
  installed("a", "b");
  registered("*,b");
  await removeIn("a");
  expect(left()).toEqual([["b"], ["b"]]);
});

it("is not taken from installations that nobody may look for", async () => {
  registered();
  client.intercept = ({ verb, resource }) => {
    if (verb === "list" && resource === "deployments.apps") throw new DrayError("KUBE_FORBIDDEN", "no");
  };
  await expect(removeIn("a")).rejects.toThrow("it may be that of a namespace that you may not see");
  expect(left()).toEqual([[undefined], ["a", "b"]]);
});

it("that is added by another installation in the moment in which it is removed stays for that one", async () => {
  registered("a");
  let isLate = true;
  client.intercept = ({ verb, resource }) => {
    if (!isLate || verb !== "delete" || resource !== "datamovers.drayage.io") return;
    isLate = false;
    client.mutate(dataMovers, { name: "tar" }, (mover) => {
      mover.metadata.annotations = { [MOVER_INSTALLATIONS]: "a,b" };
    });
  };
  const removing = removeIn("a");
  for (let turn = 0; isLate && turn < 100; turn++) await settle();
  await settle();
  await terminal.clock.advance(1_000);
  await removing;
  expect(left()).toEqual([["b"], ["b"]]);
});
