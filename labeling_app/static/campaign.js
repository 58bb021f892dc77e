// The campaign as the server tells of it: what is asked, the guidelines, the texts of the page.

import * as api from "./api.js";

const PAUSE_MS = 1000;

/** Asks until the server answers; `trouble` is told why it does not. */
export async function openCampaign(trouble) {
  for (;;) {
    try {
      return new Campaign(await api.campaign());
    } catch (error) {
      if (error.message) trouble(error.message);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

class Campaign {
  constructor(facts) {
    this.facts = facts;
    this.texts = facts.texts;
    this.routes = api.routes(this.texts);
  }

  get guidelines() {
    return this.facts.guidelines_markdown || this.texts.no_guidelines;
  }

  async refresh() {
    this.facts = await api.campaign(this.texts);
  }

  async consent() {
    try {
      await this.routes.consent(this.facts.guidelines_version);
    } catch (error) {
      if (error.status === 409) await this.refresh(); // they changed while they were being read
      throw error;
    }
  }
}
