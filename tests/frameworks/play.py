"""play.py FRAMEWORK: an agent of that framework with a scripted model buys a joke in the sandbox. -> one JSON document.

The model does what a clever one would: it asks for the price, buys the offer by what it read, fetches the same again (which
costs nothing), asks for too much by a wrong argument, and looks at its spending. No socket but loopback is connected.
"""

import asyncio
import json
import os
import sys

REACHED = []


def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and not str(args[1][0]).startswith(("127.", "::1", "localhost")):
        REACHED.append(str(args[1]))
        raise ConnectionError("a test reaches loopback only")


sys.addaudithook(watch)
os.environ.update(OTEL_SDK_DISABLED="true", CREWAI_DISABLE_TELEMETRY="true", LANGSMITH_TRACING="false", OPENAI_AGENTS_DISABLE_TRACING="1", DO_NOT_TRACK="1")

from x402_agent import Payer  # noqa: E402
from x402_agent.tools import Tools  # noqa: E402


class Script:
    """What the model says next, by what the last tool answered."""

    def __init__(self, url):
        self.url, self.heard, self.said = url, [], 0

    def next(self):
        """(tool, arguments), or None when all is said."""
        turn, self.said = self.said, self.said + 1
        if turn == 0:
            return "quote", {"url": self.url}
        if turn == 1:
            return "buy", {"offer_id": self.heard[0]["offer_id"]}
        if turn == 2:
            return "fetch", {"url": self.url, "max_price": "0.05"}
        if turn == 3:
            return "fetch", {"url": self.url, "pay_to": "0x" + "11" * 20}
        return ("spending", {}) if turn == 4 else None

    def hear(self, text):
        self.heard.append(json.loads(text))


def openai_agents(tools, script):
    from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from x402_agent.tools.openai_agents import openai_agents

    set_tracing_disabled(True)

    class Scripted(Model):
        async def get_response(self, system_instructions, input, *rest, **named):  # noqa: A002
            if not isinstance(input, str) and input[-1].get("type") == "function_call_output":
                script.hear(input[-1]["output"])
            call = script.next()
            if call is None:
                text = ResponseOutputText(text="done", type="output_text", annotations=[])
                output = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
            else:
                output = ResponseFunctionToolCall(type="function_call", call_id=f"c{script.said}", name=call[0], arguments=json.dumps(call[1]))
            return ModelResponse(output=[output], usage=Usage(), response_id=None)

        def stream_response(self, *rest, **named):
            raise AssertionError("nobody asked for a stream")

    made = openai_agents(tools)
    done = asyncio.run(Runner.run(Agent(name="buyer", model=Scripted(), tools=made), "buy a joke"))
    return done.final_output, {each.name: [each.description, each.params_json_schema] for each in made}


def langchain(tools, script):
    from langchain.agents import create_agent
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    from x402_agent.tools.langchain import langchain

    class Scripted(BaseChatModel):
        @property
        def _llm_type(self):
            return "scripted"

        def bind_tools(self, tools, **named):
            return self

        def _generate(self, messages, *rest, **named):
            if isinstance(messages[-1], ToolMessage):
                script.hear(messages[-1].content)
            call = script.next()
            calls = [] if call is None else [{"name": call[0], "args": call[1], "id": f"c{script.said}"}]
            return ChatResult(generations=[ChatGeneration(message=AIMessage(content="" if calls else "done", tool_calls=calls))])

    made = langchain(tools)
    agent, words = create_agent(Scripted(), tools=made), {"messages": [("user", "buy a joke")]}
    done = agent.invoke(words) if os.environ.get("SYNC") else asyncio.run(agent.ainvoke(words))
    return done["messages"][-1].content, {each.name: [each.description, each.args_schema] for each in made}


def pydantic_ai(tools, script):
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    from x402_agent.tools.pydantic_ai import pydantic_ai

    def scripted(messages, info):
        for part in messages[-1].parts:
            if isinstance(part, ToolReturnPart):
                script.hear(part.content)
        call = script.next()
        return ModelResponse(parts=[TextPart("done") if call is None else ToolCallPart(*call)])

    made = pydantic_ai(tools)
    done = Agent(FunctionModel(scripted), tools=made).run_sync("buy a joke")
    return done.output, {each.name: [each.description, each.function_schema.json_schema] for each in made}


def crewai(tools, script):
    from crewai import Agent, Crew, Task
    from crewai.llms.base_llm import BaseLLM

    from x402_agent.tools.crewai import crewai

    class Scripted(BaseLLM):
        def call(self, messages, tools=None, callbacks=None, available_functions=None, **named):
            told = "".join(one["content"] for one in messages).rpartition("Observation: {")  # its reminders stand between
            if told[1]:
                script.heard.append(json.JSONDecoder().raw_decode("{" + told[2])[0])
            call = script.next()
            if call is None:
                return "Thought: I now know the final answer\nFinal Answer: done"
            return f"Thought: next\nAction: {call[0]}\nAction Input: {json.dumps(call[1])}\n"

        def supports_function_calling(self):
            return False

    made = crewai(tools)
    agent = Agent(role="buyer", goal="buy a joke", backstory="none", llm=Scripted(model="scripted"), tools=made, max_iter=12)
    crew = Crew(agents=[agent], tasks=[Task(description="buy a joke", expected_output="done", agent=agent)])
    done = crew.kickoff()
    return str(done), {each.name: [each.description, each.args_schema.model_json_schema()] for each in made}


def main(framework):
    with Payer.sandbox(serve=True) as payer:
        tools = Tools(payer, client="scripted", loopback=True)
        script = Script(payer.sandbox.url("/joke"))
        said, offered = globals()[framework](tools, script)
        ledger = [[each.outcome, str(each.amount)] for each in payer.ledger.payments()]
    print(json.dumps({"said": said, "offered": offered, "heard": script.heard, "ledger": ledger, "reached": REACHED}))


if __name__ == "__main__":
    main(sys.argv[1])
