"""The words of the built-in world: four families of requests and what a good answer to each says.

All text here was written for this project. A topic is what a request is about; its two `facts` are
the sentences that answer it. Everything else that an answer can hold (filler, vague words, a wrong
topic's facts) is worth less.
"""

PRODUCTS = [
    "kettle",
    "lamp",
    "chair",
    "radio",
    "mirror",
    "blanket",
    "backpack",
    "bicycle",
    "tent",
    "camera",
]

# problem: what the customer says, and the two sentences that solve it
PROBLEMS: dict[str, tuple[str, str, str]] = {
    "broken": (
        "My {x} arrived broken.",
        "We will send you a new {x} today.",
        "You can keep the broken one.",
    ),
    "late": (
        "My {x} is a week late.",
        "The {x} will be at your door tomorrow.",
        "We will pay back the delivery fee.",
    ),
    "colour": (
        "I ordered a blue {x} and got a green one.",
        "We will swap it for a blue {x}.",
        "A driver will pick up the green one.",
    ),
    "part": (
        "A part of my {x} is missing.",
        "The missing part leaves our store this morning.",
        "It fits in without any tools.",
    ),
    "paid": (
        "I paid twice for my {x}.",
        "One of the two payments goes back to you.",
        "The money will be there on Friday.",
    ),
    "stopped": (
        "My {x} stopped working after two days.",
        "We will repair the {x} for free.",
        "Please use the label that we sent you.",
    ),
}

SUPPORT_FRAMES = (
    "{c}",
    "Hello, I need help. {c}",
    "{c} What can you do?",
    "{c} Please help me.",
    "{c} I am not happy about it.",
    "Good morning. {c} What now?",
    "{c} It was a birthday present.",
    "{c} Can you fix this for me?",
    "Hi there. {c}",
    "{c} I would like an answer today.",
    "I wrote to you before. {c}",
    "{c} This is the second time.",
    "Dear team, {c}",
    "{c} Who can help me?",
    "{c} Thanks for your help.",
    "I have a problem. {c}",
)

THINGS: dict[str, tuple[str, str]] = {
    "compass": ("A compass shows which way is north.", "Sailors use it far from land."),
    "thermometer": (
        "A thermometer tells how warm something is.",
        "A doctor reads it when you have a fever.",
    ),
    "bridge": ("A bridge carries a road over water.", "Trucks and people cross it all day."),
    "library": ("A library lends books to everyone.", "You bring them back after a month."),
    "magnet": ("A magnet pulls iron towards it.", "It holds notes on a kitchen door."),
    "telescope": (
        "A telescope makes far things look near.",
        "With it you can see the moon in detail.",
    ),
    "lighthouse": ("A lighthouse warns ships of rocks.", "Its light turns all night long."),
    "battery": ("A battery stores power for later.", "Your phone needs one to run."),
    "windmill": ("A windmill turns wind into work.", "Long ago it ground wheat to flour."),
    "calendar": ("A calendar shows the days of a year.", "You can mark a birthday on it."),
    "ladder": ("A ladder lets you climb up high.", "Painters lean it on a house."),
    "satellite": ("A satellite flies around the earth.", "It sends back pictures of the weather."),
}

EXPLAIN_FRAMES = (
    "What is a {x} for?",
    "Explain what a {x} does.",
    "Tell me about the {x}.",
    "Please explain the word {x} to a child.",
    "My son asks what a {x} is.",
    "I never understood what a {x} does.",
    "In simple words, what is a {x}?",
    "Why do people need a {x}?",
    "Can you tell me what a {x} does?",
    "I read about a {x} today. What is it?",
    "We talk about the {x} in class. What is it good for?",
    "Someone said the word {x}. What does it mean?",
    "Help me understand the {x}.",
    "What should I know about a {x}?",
    "Say in two lines what a {x} is.",
    "I have to write about the {x}. Where do I start?",
    "Could you explain the {x}?",
    "What does a {x} do all day?",
    "Give me a short answer. What is a {x}?",
    "Teach me about the {x}.",
    "Is a {x} useful?",
    "A friend has a {x}. What can one do with it?",
    "I saw a {x} on a trip. What was it for?",
    "We found a picture of a {x}. Explain it.",
)

TASKS: dict[str, tuple[str, str]] = {
    "learn new words": (
        "Write five words on cards each morning.",
        "Say each one aloud before you turn the card.",
    ),
    "save money": (
        "Write down all that you spend for a month.",
        "Move a small sum to savings on pay day.",
    ),
    "grow basil": ("Give the basil six hours of sun.", "Water it when the top of the soil is dry."),
    "cook rice": (
        "Rinse the rice until the water is clear.",
        "Use two cups of water for each cup of rice.",
    ),
    "train a dog": (
        "Give the dog a treat right after it sits.",
        "Practice ten minutes twice a day.",
    ),
    "sharpen a knife": (
        "Pull the blade along a wet stone.",
        "Keep the same small angle on both sides.",
    ),
    "plan a party": ("Fix the day and invite ten friends.", "Ask each guest to bring one dish."),
    "fix a flat tire": ("Take the wheel off and find the hole.", "Glue a patch on the dry rubber."),
    "make good coffee": (
        "Grind the beans just before you brew.",
        "Let the water cool for one minute.",
    ),
    "paint a wall": (
        "Cover the floor with old sheets.",
        "Paint the edges first and then the middle.",
    ),
}

TIPS_FRAMES = (
    "How do I {x}?",
    "What is the best way to {x}?",
    "I want to {x}. Any ideas?",
    "Give me two tips. I want to {x}.",
    "Can you teach me to {x}?",
    "I never know how to {x}.",
    "Please tell me how to {x}.",
    "My sister wants to {x}. What should she do?",
    "Help me to {x}.",
    "It is hard for me to {x}.",
    "Is there a trick to {x}?",
    "I try to {x} but it does not work.",
    "What do people do to {x}?",
    "We need to {x} this week. How?",
    "Quick question. How can I {x}?",
    "Do you know how to {x}?",
    "What would you do to {x}?",
    "I have to {x} and have no plan.",
    "Tell me the steps. I want to {x}.",
    "How can someone {x} at home?",
    "Which steps does it take to {x}?",
    "My goal for this month is to {x}.",
    "Somebody asked me how to {x}.",
    "A good way to {x}, please.",
)

PEOPLE = [
    "Anna",
    "Omar",
    "Grace",
    "Peter",
    "Lucia",
    "Hugo",
]

GIFTS: dict[str, tuple[str, str]] = {
    "scarf": ("I wear the scarf on every cold morning.", "The wool is so soft on my neck."),
    "novel": ("I read the novel in one night.", "The last chapter made me cry."),
    "teapot": ("I fill the teapot every afternoon.", "It keeps my tea hot for an hour."),
    "puzzle": ("We did the puzzle on a rainy Sunday.", "Only one piece of sky was hard to find."),
    "flowers": ("The flowers stand on my desk.", "Their smell fills the whole room."),
    "cake": ("The cake was gone in ten minutes.", "My kids asked for more of it."),
    "painting": ("The painting hangs over my bed.", "I see new colours in it each day."),
    "pen": ("I wrote this note with the pen.", "It glides over the paper."),
}

THANKS_FRAMES = (
    "Write a note to thank {p} for the {x}.",
    "{p} gave me a {x}. Help me say thanks.",
    "I need a short note to {p} about the {x}.",
    "Thank {p} for the {x} in my name.",
    "Please write to {p}. I love the {x}.",
    "What can I write to {p} about the {x}?",
    "The {x} came from {p}. Write a card for me.",
    "A kind note to {p} for the {x}, please.",
    "Help me thank {p}. It is about the {x}.",
    "{p} sent me a {x}. What do I reply?",
    "I want to thank {p} for the {x}.",
    "Write to {p} that I like the {x}.",
    "My friend {p} gave me a {x}. I need a reply.",
    "Say thanks to {p}. The {x} made my day.",
)

# What names the topic, first line of a good answer, by family.
OPENERS: dict[str, tuple[str, ...]] = {
    "support": (
        "I am sorry about the trouble with your {x}.",
        "We are sorry to hear about your {x}.",
    ),
    "explain": ("Let us look at the {x}.", "Here is what to know about the {x}."),
    "tips": ("Here is how to {x}.", "This is a good way to {x}."),
    "thanks": ("Dear {p}, thank you for the {x}.", "Dear {p}, many thanks for the {x}."),
}

CLOSERS: dict[str, tuple[str, ...]] = {
    "support": ("Write to us if you need more help.",),
    "explain": ("Ask me if you want to know more.",),
    "tips": ("Good luck, you can do it.",),
    "thanks": ("I hope to see you soon.",),
}

VAGUE = (
    "There are many ways to look at this.",
    "It depends on a lot of things.",
    "Some people do one thing and some do another.",
    "It is good that you asked.",
)

FILLER = (
    "As we all know, life is full of small and big things.",
    "To be honest, this is something that comes up quite a lot these days.",
    "In the end it is what it is, and that is that.",
    "Many people all over the world have said something like this before.",
    "It goes without saying that there is always more to say.",
    "At the end of the day, every day comes to an end.",
)
