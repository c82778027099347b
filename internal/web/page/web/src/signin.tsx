// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { Refusal, signIn } from "./api";

// SignIn asks for the token, which is exchanged for a cookie and forgotten.
export function SignIn({ then }: { then: () => void }) {
  const [wrong, setWrong] = useState("");
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const input = (e.currentTarget as HTMLFormElement).elements.namedItem("token") as HTMLInputElement;
    try {
      await signIn(input.value);
      then();
    } catch (err) {
      setWrong(err instanceof Refusal ? [err.title, err.detail].filter(Boolean).join(": ") : "renat does not answer");
      input.select();
    }
  };
  return (
    <form class="card signin" onSubmit={submit}>
      <h1>Sign in</h1>
      <p>This renat asks for its token: what is in the file named with <code>--http-token-file</code>.</p>
      <input type="text" name="username" autocomplete="username" value="renat" hidden readOnly />
      <label for="token">Token</label>
      <input id="token" name="token" type="password" autocomplete="current-password" required aria-describedby="wrong" />
      <p id="wrong" role="alert">{wrong}</p>
      <button type="submit" class="main">Sign in</button>
    </form>
  );
}
