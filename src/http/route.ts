import type { FastifyReply } from 'fastify'
import type { z } from 'zod'
import type { ErrorCode } from '../errors.ts'
import type { Access, Caller } from './authentication.ts'
import { checked, noQuery } from './requests.ts'

/** One route: what it takes, what it answers and what it refuses with; `openapi.json` is made from the same table. */
export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** With `:name` for a parameter. */
  readonly path: string
  readonly access: Access
  readonly summary: string
  readonly params?: z.ZodObject
  readonly query: z.ZodType
  readonly body?: z.ZodType
  readonly takesIdempotencyKey?: boolean
  readonly answers: Readonly<Record<number, AnswerDescription>>
  /** Besides those that every route can refuse with. */
  readonly refusals: readonly ErrorCode[]
  /** Undefined: it has taken the reply over and sends the answer itself. */
  readonly handle: (request: RouteRequest<unknown, unknown, unknown>) => Answer | undefined | Promise<Answer>
}

export type Answer = {
  readonly status: number
  /** An object is sent as JSON. */
  readonly body: string | object
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

export type AnswerDescription = {
  readonly description: string
  /** JSON without one. */
  readonly type?: string
  readonly schema?: z.ZodType
}

export type RouteRequest<P, Q, B> = {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly caller: Caller
  readonly reply: FastifyReply
}

type Definition<P extends z.ZodObject, Q extends z.ZodType, B extends z.ZodType> = Omit<
  Route,
  'params' | 'query' | 'body' | 'handle' | 'refusals'
> & {
  readonly params?: P
  /** None by default. */
  readonly query?: Q
  readonly body?: B
  readonly refusals?: readonly ErrorCode[]
  readonly handle: (request: RouteRequest<z.output<P>, z.output<Q>, z.output<B>>) => ReturnType<Route['handle']>
}

/** A route whose handler gets what its schemas let through. */
export function route<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodType = typeof noQuery,
  B extends z.ZodType = z.ZodUnknown,
>(definition: Definition<P, Q, B>): Route {
  const { params, query, body, handle, refusals = [], ...rest } = definition
  return {
    ...rest,
    ...(params === undefined ? {} : { params }),
    ...(body === undefined ? {} : { body }),
    query: query ?? noQuery,
    refusals,
    handle: (request) =>
      handle({
        ...request,
        params: (params === undefined ? {} : checked(params, request.params, 'path')) as z.output<P>,
        query: checked(query ?? noQuery, request.query, 'query') as z.output<Q>,
        body: (body === undefined ? undefined : checked(body, request.body, 'body')) as z.output<B>,
      }),
  }
}
