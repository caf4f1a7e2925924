import { optional } from './declare.ts'
import * as kinds from './kinds.ts'

const jobs = ['backup', 'roles', 'drill', 'prune', 'sync'] as const

/** The keys of one entry of `notify`. */
export const notifyKeys = {
  webhook: optional(kinds.hookUrl(), {
    description: 'A URL to which each notice is sent by POST, as JSON.',
    example: 'https://hooks.example.com/pgproof',
  }),
  webhookFile: optional(kinds.path('secret'), {
    description: 'A file that holds that URL.',
    example: '/run/secrets/webhook',
  }),
  format: optional(kinds.choice('json', 'slack'), {
    description: 'json: the notice with all its fields; slack: what Slack, Mattermost and Rocket.Chat show.',
    example: 'slack',
    default: 'json',
  }),
  tokenFile: optional(kinds.path('secret'), {
    description: 'A file that holds a bearer token for the webhook.',
    example: '/run/secrets/webhook_token',
  }),
  ping: optional(kinds.hookUrl(), {
    description:
      'A dead man’s switch in the manner of healthchecks.io: /start is asked for when a run starts, the URL itself when it succeeds, and /fail when it fails.',
    example: 'https://hc-ping.com/5c0e5c1e-7f9e-4d35-a4a2-2f3d7b8e4b3a',
  }),
  pingFile: optional(kinds.path('secret'), {
    description: 'A file that holds that URL.',
    example: '/run/secrets/ping',
  }),
  email: optional(kinds.list(kinds.emailAddress(), 'e-mail addresses', 1), {
    description: 'Who gets each notice by e-mail.',
    example: '[ops@example.com]',
  }),
  from: optional(kinds.emailAddress(), {
    description: 'The sender of the e-mails.',
    example: 'pgproof@example.com',
  }),
  smtp: optional(kinds.smtpUrl(), {
    description: 'The mail server.',
    example: 'smtp://pgproof@mail.example.com:587',
  }),
  smtpPasswordFile: optional(kinds.path('secret'), {
    description: 'A file that holds the password of the user in smtp.',
    example: '/run/secrets/smtp_password',
  }),
  on: optional(kinds.list(kinds.choice('failure', 'recovery', 'success'), 'failure, recovery and success', 1), {
    description: 'What is told. Not with ping, which is told of every start and end.',
    example: '[failure]',
    default: '[failure, recovery]',
  }),
  job: optional(kinds.list(kinds.choice(...jobs), `jobs (${jobs.join(', ')})`, 1), {
    description: 'Of which jobs. Absent: of all, and of what concerns none of them, such as a store that is down.',
    example: '[backup]',
    default: 'all',
  }),
  server: optional(kinds.list(kinds.name(), 'names of servers', 1), {
    description: 'Of which servers.',
    example: '[main]',
    default: 'all',
  }),
}
