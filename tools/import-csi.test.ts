import { expect, it } from "vitest";
import { csiData } from "./import-csi.ts";

const PROTO = `
syntax = "proto3";
package csi.v1;
import "google/protobuf/descriptor.proto";
import "google/protobuf/timestamp.proto";
option go_package = "x";
extend google.protobuf.FieldOptions { bool csi_secret = 1059; }
// Words of somebody else.
service Node { rpc Watch (Ask) returns (stream Answer) { option (alpha_method) = true; } }
message Ask {
  option (alpha_message) = true;
  string volume_id = 1; // more words
  map<string, string> secrets = 2 [(csi_secret) = true];
  oneof type { int64 size_bytes = 3; .google.protobuf.Timestamp at = 4; }
}
message Answer { enum Unit { UNKNOWN = 0 [(alpha_enum_value) = true]; BYTES = 1; } Unit unit = 1; }
`;

it("csiData() keeps names, numbers and types, and leaves comments, options and extensions behind", () => {
  const text = csiData(PROTO);
  expect(text).not.toMatch(/words|option|extend|alpha|csi_secret|go_package/i);
  expect(JSON.parse(text).nested.csi.nested.v1.nested).toEqual({
    Node: { methods: { Watch: { requestType: "Ask", responseType: "Answer", responseStream: true } } },
    Ask: {
      oneofs: { type: { oneof: ["sizeBytes", "at"] } },
      fields: {
        volumeId: { type: "string", id: 1 },
        secrets: { keyType: "string", type: "string", id: 2 },
        sizeBytes: { type: "int64", id: 3 },
        at: { type: ".google.protobuf.Timestamp", id: 4 },
      },
    },
    Answer: { fields: { unit: { type: "Unit", id: 1 } }, nested: { Unit: { values: { UNKNOWN: 0, BYTES: 1 } } } },
  });
});
