import { html } from './html.ts'

/** The one form of the page, for whatever a button orders; the script fills in what it is about. */
export const orderDialog = html`<dialog id="order" aria-labelledby="order-title">
<form id="order-form">
<h2 id="order-title"></h2>
<p id="order-note"></p>
<fieldset id="order-pick"><legend>Which backup</legend>
<label><input type="radio" name="pick" value="" checked> as configured</label>
<label><input type="radio" name="pick" value="latest"> the newest</label>
<label><input type="radio" name="pick" value="random"> one at random</label>
</fieldset>
<label for="order-token"><span>Token with the scope <code id="order-scope">drill</code></span></label>
<input id="order-token" name="token" type="password" required autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="order-token-note order-problem">
<p class="note" id="order-token-note">This page forgets it when it is closed or loaded anew.</p>
<label><input type="checkbox" id="order-keep"> keep it until this tab is closed</label>
<p id="order-problem" class="problem" role="alert"></p>
<div class="buttons"><button type="submit" id="order-submit" class="primary"></button>
<button type="button" id="order-close">Close</button></div>
</form>
</dialog>`
