import { type Backup, type DataMover, type DataMoverClass, MOVER_ANNOTATIONS } from "@drayage/api";
import type { PersistentVolumeClaim } from "@drayage/kube";
import { persistentVolumeClaims } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import type { ResourcePolicies } from "../resource-policy/resource-policies.ts";
import { claimsNamed, moverFaults } from "./mover-faults.ts";
import { MoverRegistry } from "./mover-registry.ts";

const mover = (name: string, kinds = ["persistentvolumeclaims"]): DataMover => ({
  metadata: { name },
  spec: {
    version: "1.0.0",
    description: name,
    module: `/${name}.ts`,
    capabilities: { kinds },
    parameters: { type: "object", properties: { level: { type: "integer", minimum: 1, description: "How hard" } } },
  },
});
const movers = [mover("tar"), mover("images", ["imagestreams.image.openshift.io"])];
const backup = (spec: Partial<Backup["spec"]> = {}, parameters?: string): Backup => ({
  metadata: { name: "b", ...(parameters === undefined ? {} : { annotations: { [MOVER_ANNOTATIONS.parameters]: parameters } }) },
  spec: { resourcePolicy: { kind: "ConfigMap", name: "volumes" }, includedNamespaces: ["shop"], ...spec },
});
const policy = (parameters: Record<string, unknown>): ResourcePolicies => ({
  volumePolicies: [
    { conditions: {}, action: { type: "skip", parameters: {} } },
    { conditions: {}, action: { type: "snapshot", parameters } },
  ],
  includeExclude: undefined,
});
const dataMoverClass = (spec: DataMoverClass["spec"]): DataMoverClass => ({ metadata: { name: "gold" }, spec });
const claim = (annotations: Record<string, string>, namespace = "shop"): PersistentVolumeClaim => ({
  metadata: { namespace, name: "files", annotations },
  spec: {},
});

interface Given {
  readonly backup?: Backup;
  readonly policies?: ResourcePolicies;
  readonly class?: DataMoverClass["spec"];
  readonly claim?: PersistentVolumeClaim;
}
const faults = (given: Given): string[] =>
  moverFaults({
    backup: given.backup ?? backup(),
    policies: given.policies,
    claims: given.claim === undefined ? [] : [given.claim],
    registry: new MoverRegistry(movers, given.class === undefined ? [] : [dataMoverClass(given.class)]),
  });

describe("moverFaults()", () => {
  const ANNOTATION = "metadata.annotations[drayage.io/data-mover-parameters]";
  const POLICY = 'spec.resourcePolicy: ConfigMap "volumes" volumePolicies[1].action.parameters';
  const WRONG = 'parameter "level" must be >= 1 of mover "tar"';
  it.each<[what: string, given: Given, wanted: string[]]>([
    ["nothing", {}, []],
    [
      "good parameters in all places",
      { backup: backup({ datamover: "tar" }, '{"level":"2"}'), policies: policy({ dataMover: "tar" }), class: { mover: "tar", parameters: { level: 1 } } },
      [],
    ],
    [
      "the Backup's mover",
      { backup: backup({ datamover: "tape" }) },
      [expect.stringMatching(/^spec\.datamover is "tape", and there is no such mover; there is .*tar/)],
    ],
    ["the Backup's parameters", { backup: backup({ datamover: "tar" }, '{"level":0}') }, [`${ANNOTATION}: ${WRONG}`]],
    [
      "those of the built-in mover",
      { backup: backup({}, '{"Compression":"best"}') },
      [expect.stringContaining(`${ANNOTATION}: parameter "Compression" must be equal to one of the allowed values`)],
    ],
    ["text that is no JSON", { backup: backup({}, "level=3") }, [`${ANNOTATION}: an object of names and values is wanted, as JSON`]],
    ["a policy's mover", { policies: policy({ dataMover: "tape" }) }, [expect.stringContaining(`${POLICY}.dataMover is "tape"`)]],
    [
      "a policy's mover of other things",
      { policies: policy({ dataMover: "images" }) },
      [expect.stringContaining(`${POLICY}.dataMover: mover "images" does not move persistentvolumeclaims`)],
    ],
    ["a policy's parameters", { policies: policy({ dataMover: "tar", dataMoverParameters: { level: 0 } }) }, [`${POLICY}.dataMoverParameters: ${WRONG}`]],
    [
      "parameters of no mover",
      { policies: policy({ dataMoverParameters: { level: 1 } }) },
      [expect.stringContaining(`${POLICY}.dataMoverParameters: there is no dataMover`)],
    ],
    ["a class's mover", { class: { mover: "tape" } }, [expect.stringContaining('DataMoverClass "gold" spec.mover is "tape"')]],
    [
      "a class's parameters",
      { class: { mover: "tar", parameters: { depth: 1 } } },
      ['DataMoverClass "gold" spec.parameters: "depth" is not a parameter of mover "tar"'],
    ],
    ["a class of another namespace not", { class: { mover: "tape", selector: { namespaces: ["bank"] } } }, []],
    [
      "a claim's parameters",
      { claim: claim({ [MOVER_ANNOTATIONS.mover]: "tar", [MOVER_ANNOTATIONS.parameters]: '{"level":0}' }) },
      [`PersistentVolumeClaim "shop/files" ${ANNOTATION}: ${WRONG}`],
    ],
  ])("tells of %s", (_what, given, wanted) => {
    expect(faults(given)).toEqual(wanted);
  });

  it("looks at claims where the backup names their namespace, moves data and takes all of them", async () => {
    const client = new FakeKubeClient();
    for (const namespace of ["shop", "bank"]) client.seed(persistentVolumeClaims, claim({}, namespace));
    const named = async (spec: Partial<Backup["spec"]>, moves = true): Promise<(string | undefined)[]> =>
      (await claimsNamed(client, backup(spec), moves, new AbortController().signal)).map(({ metadata }) => metadata.namespace);
    expect(await named({})).toEqual(["shop"]);
    expect(await named({ includedNamespaces: ["*"] })).toEqual([]);
    expect(await named({}, false)).toEqual([]);
    expect(await named({ labelSelector: { matchLabels: { a: "b" } } })).toEqual([]);
  });
});
