// fhir-kit-client reads, searches, follows pages, asks histories and operations. Prints what it saw as JSON.
const fs = require('fs');
const path = require('path');
const { pathToFileURL } = require('url');

const [baseUrl, bearerToken] = process.argv.slice(2);

// Its present versions are ES modules, older ones are not: both are found where NODE_PATH says.
async function made() {
  const home = path.join(process.env.NODE_PATH, 'fhir-kit-client');
  const about = JSON.parse(fs.readFileSync(path.join(home, 'package.json')));
  const entry = about.exports?.['.']?.import ?? about.exports?.import ?? about.main;
  const file = typeof entry === 'string' ? entry : entry.default;
  const found = await import(pathToFileURL(path.join(home, file)).href);
  const Client = found.default?.default ?? found.default ?? found.Client;
  return new Client({ baseUrl, bearerToken });
}

async function everyone(client) {
  const ids = [];
  let bundle = await client.search({ resourceType: 'Patient', searchParams: { _count: 4 } });
  while (bundle) {
    ids.push(...(bundle.entry || []).map((each) => each.resource.id));
    bundle = bundle.link.some((each) => each.relation === 'next') ? await client.nextPage({ bundle }) : null;
  }
  return ids;
}

async function main() {
  const client = await made();
  const statement = await client.capabilityStatement();
  const one = await client.read({ resourceType: 'Patient', id: 'p1' });
  const older = await client.vread({ resourceType: 'Patient', id: 'p1', version: '1' });
  const history = await client.history({ resourceType: 'Patient', id: 'p1' });
  const posted = await client.search({
    resourceType: 'Observation',
    searchParams: { 'subject:Patient.identifier': 'urn:test:person|n-p1', _include: 'Observation:subject' },
    options: { postSearch: true },
  });
  const whole = await client.operation({ name: 'everything', resourceType: 'Patient', id: 'p1', method: 'GET' });
  const system = await client.systemSearch({ searchParams: { _type: 'Patient,Observation', _summary: 'count' } });
  let missing = 0;
  try {
    await client.read({ resourceType: 'Patient', id: 'nobody' });
  } catch (error) {
    missing = error.response.status;
  }
  console.log(JSON.stringify({
    version: statement.fhirVersion,
    one: [one.id, one.name[0].family, one.birthDate],
    versions: [older.meta.versionId, history.entry.length],
    everyone: await everyone(client),
    included: posted.entry.map((each) => `${each.resource.resourceType}/${each.resource.id}`).sort(),
    everything: whole.entry.length,
    system: system.total,
    missing,
  }));
}

main().catch((error) => {
  console.error(error.message, error.response && JSON.stringify(error.response.data));
  process.exit(1);
});
