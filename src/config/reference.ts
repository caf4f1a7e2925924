import { z } from 'zod'
import { type Declaration, declarationOf } from './declare.ts'
import {
  everyKey,
  type KeyNode,
  mayBeOne,
  type Path,
  root,
  type SectionNode,
  shortPath,
  type ValueNode,
  variableOf,
} from './keys.ts'
import { schema } from './schema.ts'

/** docs/configuration.md: how settings are given, then every key of the schema. */
export function configurationReference(): string {
  const sections = [...root.keys].map(([key, node]) => keySection([key], node, 2))
  return `${introduction}\n${sections.join('\n')}`
}

/** config/pgproof.schema.json, for editors. What a file lacks may come from the environment, so few keys are required. */
export function jsonSchema(): string {
  const document = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    override: ({ zodSchema, jsonSchema: json, path }) => describe(zodSchema, json, `#/${path.join('/')}`),
  })
  const { $schema, ...rest } = document
  const title = 'The configuration of pgproof'
  return `${JSON.stringify({ $schema, title, ...rest, required: undefined }, null, 2)}\n`
}

/** A key as people write it: `servers[].retention.daily`, but `store.url`, because most write one store and no list. */
export function keyName(path: Path): string {
  return bracketed(shortPath(path))
}

function bracketed(path: Path): string {
  return path.map((step, index) => (typeof step === 'number' ? '[]' : index === 0 ? step : `.${step}`)).join('')
}

type Json = { [key: string]: unknown }

const orVariable = { type: 'string', pattern: '\\$\\{' }

/** `place` is where the schema stands in the document, as a JSON pointer. */
function describe(zodSchema: object, json: Json, place: string): void {
  const declaration = declarationOf(zodSchema)
  if (declaration === undefined) return
  const { default: standard, ...form } = json
  const isElement = declaration.form === 'section' && zodSchema instanceof z.ZodObject
  if (declaration.form === 'section' && !isElement) delete form['required']
  for (const key of Object.keys(json)) delete json[key]
  const description = declaration.form === 'value' ? declaration.about.description : declaration.description
  json['description'] = description
  if (declaration.form === 'value' && standard !== undefined) json['default'] = standard
  Object.assign(json, alternatives(declaration, form, place))
}

/** Every value may be a text with `${NAME}` instead, and a section may have a shorthand. */
function alternatives(declaration: Declaration, form: Json, place: string): Json {
  if (declaration.form === 'value') {
    const isPlainText = form['type'] === 'string' && form['pattern'] === undefined && form['enum'] === undefined
    return isPlainText ? form : { anyOf: [form, orVariable] }
  }
  if (declaration.form === 'list') {
    if (!declaration.mayBeOne) return form
    // What the file lacks of a section may come from the environment.
    const only = { ...(form['items'] as Json), required: undefined }
    return { anyOf: [only, { ...form, items: { $ref: `${place}/anyOf/0` } }] }
  }
  if (declaration.shorthand === undefined) return form
  const properties = form['properties'] as Record<string, Json>
  return { anyOf: [properties[declaration.shorthand], form] }
}

function keySection(path: Path, node: KeyNode, level: number): string {
  const heading = `${'#'.repeat(level)} \`${keyName(node.form === 'list' ? [...path, 0] : path)}\`\n`
  if (node.form === 'value') return `${heading}\n${valueText(path, node)}`
  const section: SectionNode = node.form === 'list' ? node.element : node
  const inner = [...section.keys].map(([key, child]) =>
    keySection([...path, ...(node.form === 'list' ? [0] : []), key], child, 3),
  )
  return `${heading}\n${node.description}\n${listForm(path, node)}${sectionDefault(section)}\n${inner.join('\n')}`
}

/** How several are written where one needs no list. */
function listForm(path: Path, node: KeyNode): string {
  if (!mayBeOne(node)) return ''
  const [key = ''] = node.element.keys.keys()
  const variables = [0, 1].map((index) => `\`${variableOf([...path, index, key])}\``).join(' and ')
  return `
One section, or a list of sections with the same keys (\`${bracketed([...path, 0, key])}\`). The variables of a list are
${variables}; without a number, as below, the first section is meant.
`
}

function sectionDefault(section: SectionNode): string {
  const isWorthSaying = section.default !== undefined && Object.keys(section.default as object).length > 0
  return isWorthSaying ? `\nDefault: \`${yamlOf(section.default)}\`\n` : ''
}

function valueText(path: Path, { about, kind, isRequired, default: standard }: ValueNode): string {
  const given = about.default ?? (standard === undefined ? 'none' : `\`${yamlOf(standard)}\``)
  const secret =
    kind.isSecret === true ? ' (secret)' : kind.reads === 'secret' ? ' (of a file that holds a secret)' : ''
  return [
    `${about.description}\n`,
    `- Environment: \`${variableOf(shortPath(path))}\``,
    `- Value: ${kind.expects}${secret}`,
    isRequired ? '- Required' : `- Default: ${given}`,
    `- Example: \`${about.example}\`\n`,
  ].join('\n')
}

function yamlOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(yamlOf).join(', ')}]`
  if (typeof value !== 'object' || value === null) return String(value)
  const pairs = Object.entries(value).map(([key, inner]) => `${key}: ${yamlOf(inner)}`)
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`
}

const valueCount = [...everyKey()].filter(({ node }) => node.form === 'value').length

const introduction = `# Configuration

This page is generated from \`src/config/schema.ts\` by \`node scripts/generate-reference.ts\`; do not edit it.

pgproof takes its ${valueCount} settings from a YAML file, given by \`--config\` or \`PGPROOF_CONFIG\`, and from environment
variables. A variable wins over the file, the file over the default. \`config/pgproof.example.yaml\` shows every key with a
comment; \`config/pgproof.schema.json\` lets editors complete and check a file.

## How settings are given

**Variables.** Each key has one: its path in upper snake case, joined by two underscores, after \`PGPROOF_\`. Elements of a
list of sections are counted from 0: \`PGPROOF_SERVERS__0__NAME\`. A list of plain values is separated by commas,
\`evidence.tables\` is written as \`public.a=count,public.b=off\`, and \`store.tags\` likewise. An empty variable counts as not
set. A variable that starts with \`PGPROOF_\` and means no key is a fault, apart from \`PGPROOF_CONFIG\`, \`PGPROOF_URL\` and \`PGPROOF_TOKEN\` (of commands that talk to a daemon), \`PGPROOF_TEST_…\` and
what Kubernetes sets for a Service of the name pgproof. One server and one store need no file:

\`\`\`sh
PGPROOF_STORE__URL=s3://backups/prod
PGPROOF_ENCRYPTION__RECIPIENTS=/keys/backup.pub.asc,/keys/escrow.pub.asc
PGPROOF_SERVERS__0__NAME=main
PGPROOF_SERVERS__0__URL=postgres://backup@db:5432/postgres
PGPROOF_SERVERS__0__PASSWORD_FILE=/run/secrets/pg_password
PGPROOF_SERVERS__0__SCHEDULE__BACKUP="0 2 * * *"
\`\`\`

**Variables inside the file.** \`\${NAME}\` in a value is replaced from the environment; a variable that is not set is a fault.
\`$\${\` stands for a literal \`\${\`.

**Secrets.** A key that ends in \`File\` names a file whose text is the secret; it is read at the start and at a SIGHUP (that of \`fleet\` at the start only), a server’s password at each connection, without its last
line break. A secret is never printed. A warning is logged if users other than the owner may read such a file.

**Durations** are a whole number and a unit: \`30s\`, \`15m\`, \`26h\`, \`14d\`, \`2w\`. **Sizes** too: \`8MiB\`, \`500MB\` (units B, kB,
MB, GB, TB, KiB, MiB, GiB, TiB). **Paths** that do not start with \`/\` are relative to the folder of the file, or to the working
directory without one.

**Faults.** Unknown keys, wrong values, unreadable files and settings that contradict each other are reported all at once,
each with its line and column or the name of its variable, and pgproof ends with exit code 2.
`
