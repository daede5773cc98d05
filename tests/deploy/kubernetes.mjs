// Reads a JSON list of Kubernetes objects from standard input and holds each against the schema of
// its kind; test_static.py runs it where kubernetes-models is installed.
import { readFileSync } from "node:fs";

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const models = await import(`kubernetes-models/${object.apiVersion}`);
  try {
    new models[object.kind](object).validate();
    console.log(`ok ${object.kind} ${object.metadata.name}`);
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
