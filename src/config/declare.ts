import { z } from 'zod'
import type { Kind } from './kinds.ts'

/** What is said about a key where it is declared. */
export type About = {
  /** One or more sentences for docs/configuration.md and for editors. */
  readonly description: string
  /** As written in YAML. */
  readonly example: string
  /** Only where the schema cannot tell: a default that depends on other settings. */
  readonly default?: string
}

export type Declaration =
  | {
      readonly form: 'section'
      readonly description: string
      /** A scalar in place of the section is the value of this key. */
      readonly shorthand?: string
      /** What the section holds if it is absent. */
      readonly default?: unknown
    }
  | {
      readonly form: 'list'
      readonly description: string
      /** A section in place of the list is its only element. */
      readonly mayBeOne: boolean
    }
  | {
      readonly form: 'value'
      readonly kind: Kind
      readonly about: About
      readonly isRequired: boolean
      readonly default?: unknown
    }

/** The declaration of a schema made by the functions below. */
export function declarationOf(schema: object): Declaration | undefined {
  return declarations.get(schema)
}

/** A key without which nothing works. */
export function required<S extends z.ZodType>(kind: Kind<S>, about: About): S {
  return declareValue(kind.schema.clone() as S, kind, about, { isRequired: true })
}

/** A key that may be absent, which has a meaning of its own. */
export function optional<S extends z.ZodType>(kind: Kind<S>, about: About): z.ZodOptional<S> {
  return declareValue(kind.schema.optional(), kind, about, { isRequired: false })
}

/** A key with a default, given as the file would have it. */
export function withDefault<S extends z.ZodType>(kind: Kind<S>, value: z.input<S>, about: About): z.ZodPrefault<S> {
  return declareValue(kind.schema.prefault(value), kind, about, { isRequired: false, default: value })
}

/** Keys that belong together; absent means empty, so that each missing key inside is reported by its own name. */
export function section<T extends z.ZodRawShape>(
  about: { description: string; shorthand?: Extract<keyof T, string> },
  shape: T,
) {
  const object = z.strictObject(shape)
  const schema = object.prefault({} as z.input<typeof object>)
  return declare(schema, { form: 'section', ...about })
}

/** A section that is given as a whole: what is not written in it counts as written nowhere. */
export function policy<T extends z.ZodObject>(description: string, object: T, standard: z.input<T>) {
  return declare(object.prefault(standard), { form: 'section', description, default: standard })
}

/** The same where absence has a meaning of its own. */
export function optionalPolicy<T extends z.ZodObject>(description: string, object: T) {
  return declare(object.optional(), { form: 'section', description })
}

/** A section that means something by being there. */
export function optionalSection<T extends z.ZodRawShape>(description: string, shape: T) {
  return declare(z.strictObject(shape).optional(), { form: 'section', description })
}

/** A list of sections. With `isRequired` there must be one; with `mayBeOne` one may be written without the list. */
export function sections<T extends z.ZodRawShape>(
  about: { description: string; isRequired: boolean; mayBeOne?: boolean },
  shape: T,
) {
  const element = declare(z.strictObject(shape), { form: 'section', description: about.description })
  const array = about.isRequired ? z.array(element).min(1) : z.array(element)
  // One empty element instead of none: its missing keys are then reported by their names.
  const schema = array.prefault(about.isRequired ? [{} as z.input<typeof element>] : [])
  return declare(schema, { form: 'list', description: about.description, mayBeOne: about.mayBeOne ?? false })
}

const declarations = new WeakMap<object, Declaration>()

function declare<S extends z.ZodType>(schema: S, declaration: Declaration): S {
  declarations.set(schema, declaration)
  return schema
}

function declareValue<S extends z.ZodType>(
  schema: S,
  kind: Kind,
  about: About,
  more: { isRequired: boolean; default?: unknown },
): S {
  return declare(schema, { form: 'value', kind, about, ...more })
}
