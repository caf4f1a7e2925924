import type { NotifyTarget } from '../config/config.ts'
import type { NoticeChannel } from './channel.ts'
import type { Notice } from './notice.ts'
import { post } from './post.ts'

type WebhookTarget = Extract<NotifyTarget, { kind: 'webhook' }>

/** A URL to which each notice is sent by POST. */
export function webhookChannel({ url, format, token }: WebhookTarget, now: () => Date): NoticeChannel {
  return {
    kind: 'webhook',
    name: `webhook ${new URL(url.reveal()).host}`,
    deliver: (notice, signal) =>
      post(
        {
          url: new URL(url.reveal()),
          type: 'application/json',
          body: JSON.stringify(format === 'slack' ? slackMessage(notice) : notice),
          token: token?.reveal(),
        },
        now,
        signal,
      ),
  }
}

/** As Slack, Mattermost and Rocket.Chat show it. */
export function slackMessage({ event, isTest, title, text }: Notice): Readonly<Record<string, unknown>> {
  const colour = isTest ? '#439fe0' : { failure: 'danger', recovery: 'good', success: 'good', test: '#439fe0' }[event]
  return {
    text: slackText(title),
    attachments: [{ color: colour, fallback: slackText(title), text: slackText(text) }],
  }
}

/** Names in a notice are no markup and call nobody: `<!channel>` and `@all` are only text. */
function slackText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/@(?=\w)/g, '@\u200b')
}
