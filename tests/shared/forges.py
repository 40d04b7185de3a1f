"""What GitHub and GitLab send, in the shapes in which they send it (shortened where nobody looks)."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

NOWHERE = "0" * 40


def github_push(
    after: str,
    before: str = NOWHERE,
    *,
    ref: str = "refs/heads/main",
    repository: str = "Codertocat/Hello-World",
    pushed_at: int | None = None,
) -> bytes:
    """The body of a push event."""
    owner, name = repository.split("/")
    person = {"login": owner, "id": 21031067, "node_id": "MDQ6VXNlcjIxMDMxMDY3", "type": "User", "site_admin": False}
    commit = {
        "id": after,
        "tree_id": "f9d2a07e9488b91af2641b26b9407fe22a451433",
        "distinct": True,
        "message": "Update README.md",
        "timestamp": "2019-05-15T15:20:30Z",
        "author": {"name": owner, "email": "21031067+Codertocat@users.noreply.github.com", "username": owner},
        "added": [],
        "removed": [],
        "modified": ["README.md"],
    }
    body: dict[str, Any] = {
        "ref": ref,
        "before": before,
        "after": after,
        "created": before == NOWHERE,
        "deleted": after == NOWHERE,
        "forced": False,
        "base_ref": None,
        "compare": f"https://github.com/{repository}/compare/{before[:12]}...{after[:12]}",
        "commits": [] if after == NOWHERE else [commit],
        "head_commit": None if after == NOWHERE else commit,
        "repository": {
            "id": 186853002,
            "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
            "name": name,
            "full_name": repository,
            "private": False,
            "owner": {"name": owner, **person},
            "html_url": f"https://github.com/{repository}",
            "statuses_url": f"https://api.github.com/repos/{repository}/statuses/{{sha}}",
            "created_at": 1557933565,
            "updated_at": "2019-05-15T15:20:41Z",
            "pushed_at": int(time.time()) if pushed_at is None else pushed_at,
            "git_url": f"git://github.com/{repository}.git",
            "ssh_url": f"git@github.com:{repository}.git",
            "clone_url": f"https://github.com/{repository}.git",
            "default_branch": "main",
            "license": None,
        },
        "pusher": {"name": owner, "email": "21031067+Codertocat@users.noreply.github.com"},
        "sender": person,
    }
    return json.dumps(body).encode()


def github_headers(
    body: bytes, secret: str, delivery: str, event: str = "push", content_type: str = "application/json"
) -> dict[str, str]:
    return {
        "accept": "*/*",
        "user-agent": "GitHub-Hookshot/044aadd",
        "content-type": content_type,
        "x-github-delivery": delivery,
        "x-github-event": event,
        "x-github-hook-id": "292430182",
        "x-github-hook-installation-target-id": "79929171",
        "x-github-hook-installation-target-type": "repository",
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest(),
    }


def gitlab_push(
    after: str,
    before: str = NOWHERE,
    *,
    ref: str = "refs/heads/main",
    project: str = "mike/diaspora",
    url: str = "https://gitlab.example.com",
) -> bytes:
    """The body of a push event."""
    host = url.partition("://")[2]
    body: dict[str, Any] = {
        "object_kind": "push",
        "event_name": "push",
        "before": before,
        "after": after,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": None if after == NOWHERE else after,
        "message": None,
        "user_id": 4,
        "user_name": "John Smith",
        "user_username": "jsmith",
        "project_id": 15,
        "project": {
            "id": 15,
            "name": "Diaspora",
            "description": "",
            "web_url": f"{url}/{project}",
            "avatar_url": None,
            "git_ssh_url": f"ssh://git@{host.partition(':')[0]}:2222/{project}.git",
            "git_http_url": f"{url}/{project}.git",
            "namespace": "Mike",
            "visibility_level": 0,
            "path_with_namespace": project,
            "default_branch": "main",
        },
        "repository": {"name": "Diaspora", "url": f"git@{host}:{project}.git", "description": "", "visibility_level": 0},
        "commits": [],
        "total_commits_count": 0,
        "push_options": {},
    }
    return json.dumps(body).encode()


def gitlab_headers(token: str, delivery: str, event: str = "Push Hook") -> dict[str, str]:
    return {
        "content-type": "application/json",
        "user-agent": "GitLab/18.4.0-ee",
        "idempotency-key": delivery,
        "x-gitlab-event": event,
        "x-gitlab-webhook-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e",
        "x-gitlab-instance": "https://gitlab.example.com",
        "x-gitlab-event-uuid": "8c1fd7c4-2f47-4d0c-a3f6-b8a5a4a1c001",
        **({"x-gitlab-token": token} if token else {}),
    }


def signed(headers: dict[str, str], body: bytes, signing_token: str, at_s: int) -> dict[str, str]:
    """The same headers of a webhook with a signing token, as Standard Webhooks have it."""
    delivery = headers["idempotency-key"]
    key = base64.b64decode(signing_token.removeprefix("whsec_"))
    mac = hmac.new(key, f"{delivery}.{at_s}.".encode() + body, "sha256").digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {**headers, "webhook-id": delivery, "webhook-timestamp": str(at_s), "webhook-signature": signature}
