import { builtInResources, builtInSchemas, type OpenApiSchema } from "@drayage/protocols/kubernetes";

/** The published schema of a kind that is built into Kubernetes; undefined for others. */
export function builtInSchema(apiVersion: string, kind: string): OpenApiSchema | undefined {
  const found = builtInResources().find(
    ({ group, version, ...resource }) =>
      resource.kind === kind && (group === "" ? version : `${group}/${version}`) === apiVersion && resource.schema !== undefined,
  );
  return found?.schema === undefined ? undefined : builtInSchemas()[found.schema];
}
